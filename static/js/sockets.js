// A websocket that comes back by itself, and is thought dead when it is silent too long.

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15_000];
const SILENT_MS = 40_000; // two heartbeats and a bit

export class Socket {
  /**
   * @param address a path, or what makes one anew for each try.
   * @param takes { type: (message) => … }, one per type of message.
   * @param say (tone, words) tells how the connection is.
   */
  constructor(address, takes, say) {
    this.address = address;
    this.takes = takes;
    this.say = say;
    this.tries = 0;
    setInterval(() => {
      if (Date.now() - this.heardAt > SILENT_MS) this.socket.close();
    }, 5000);
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const path = typeof this.address === "function" ? this.address() : this.address;
    this.socket = new WebSocket(`${scheme}://${location.host}${path}`);
    this.heardAt = Date.now();
    this.socket.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    this.socket.addEventListener("close", () => {
      const wait = RETRY_MS[Math.min(this.tries, RETRY_MS.length - 1)];
      this.tries += 1;
      this.isOpen = false;
      if (!this.wasRefused) this.say("warn", `Reconnecting, try ${this.tries}…`);
      setTimeout(() => this.connect(), wait);
    });
  }

  take(message) {
    this.heardAt = Date.now();
    if (message.type === "problem") {
      this.say("bad", message.problem?.detail ?? "The server ended the connection.");
      this.tries = RETRY_MS.length - 1;
      this.wasRefused = true;
      return;
    }
    this.tries = 0;
    this.wasRefused = false;
    this.isOpen = true;
    this.takes[message.type]?.(message);
  }
}
