// The test panel: saved events, running once or as a stream, progress with an end, curl.

import { ApiError, post, request } from "./api.js";
import { $, make } from "./dom.js";
import { Editor } from "./editor.js";
import { copy, toast } from "./notices.js";
import { draw, drawLogs, drawProblem } from "./result.js";
import { duration } from "./times.js";

const GRACE_SECONDS = 35;
const NEW = "New event";
const EXAMPLE = '{\n  "name": "Ada"\n}';

/** JSON for the shell: in single quotes, with those inside escaped. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export class TestPanel {
  /** @param setup the page's data; @param ask asks for a name in a dialog. */
  constructor(setup, { ask, keys }) {
    this.setup = setup;
    this.ask = ask;
    this.events = new Map(setup.events.map((event) => [event.name, event.payload]));
    this.result = $("#result");
    this.choice = $("#event-choice");
    this.editor = new Editor($("#payload"), { isSmall: true, keys });
    this.drawEvents(setup.events[0]?.name ?? NEW);
    this.choice.addEventListener("change", () => this.showEvent());
    $("#event-save").addEventListener("click", () => this.saveEvent());
    $("#event-delete").addEventListener("click", () => this.forgetEvent());
    $("#run").addEventListener("click", () => this.run());
    $("#copy-curl").addEventListener("click", () => copy(this.curl(), "The curl command is on the clipboard"));
  }

  base() {
    return `/functions/${encodeURIComponent(this.setup.function)}`;
  }

  // Events

  drawEvents(chosen) {
    const names = [...this.events.keys(), NEW];
    this.choice.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    this.choice.value = chosen;
    this.showEvent();
  }

  showEvent() {
    const text = this.events.get(this.choice.value) ?? EXAMPLE;
    this.editor.show(this.editor.newState(text, "event.json"));
    $("#event-delete").disabled = !this.events.has(this.choice.value);
  }

  async saveEvent() {
    const current = this.choice.value === NEW ? "" : this.choice.value;
    const name = await this.ask("Save this event", "Name, shared by everybody", current);
    if (!name) return;
    try {
      const saved = await post(`${this.base()}/events`, { name, payload: this.editor.text });
      this.events.set(saved.name, saved.payload);
      this.drawEvents(saved.name);
      toast(`Event “${saved.name}” is saved.`);
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  async forgetEvent() {
    const name = this.choice.value;
    try {
      await request("DELETE", `${this.base()}/events`, { name });
      this.events.delete(name);
      this.drawEvents([...this.events.keys()][0] ?? NEW);
      toast(`Event “${name}” is forgotten.`);
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  // Running

  target() {
    const [kind, name] = $("#target").value.split(/:(.*)/s);
    return { [kind]: name };
  }

  async run() {
    if (this.isRunning) return;
    this.isRunning = true;
    $("#run").classList.add("is-busy");
    const stop = this.progress();
    try {
      if ($("#stream").checked) await this.runStream();
      else await this.runOnce();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      drawProblem(this.result, error.problem);
    } finally {
      stop();
      this.isRunning = false;
      $("#run").classList.remove("is-busy");
    }
  }

  async runOnce() {
    const body = { payload: this.editor.text, ...this.target() };
    const answer = await post(`${this.base()}/test`, body, { seconds: this.limit() });
    draw(this.result, answer);
    const id = answer.document.requestId ?? answer.document.instance;
    if (id) drawLogs(this.result, this.setup.function, id);
  }

  async runStream() {
    const started = performance.now();
    const response = await fetch(`${this.base()}/test-stream`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": $("meta[name=csrf]").content },
      body: JSON.stringify({ payload: this.editor.text, ...this.target() }),
      signal: AbortSignal.timeout(this.limit() * 1000),
    }).catch(() => {
      throw new ApiError({ title: "No answer", status: 0, detail: "The server cannot be reached." });
    });
    if (!response.ok) throw new ApiError(await response.json());
    const body = make("pre", { class: "code-block result-body", tabindex: "0", "aria-label": "Body" });
    const state = make("span", { class: "small muted num" });
    const status = make("span", { class: "badge ok" }, `${response.status} streaming`);
    const head = make("div", { class: "result-head", "data-status": String(response.status) }, status, state);
    this.result.replaceChildren(head, body);
    await this.readStream(response, body, state, started);
    status.textContent = `${response.status} succeeded`;
    drawLogs(this.result, this.setup.function, response.headers.get("x-hotswap-request-id"));
  }

  async readStream(response, body, state, started) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let chunks = 0;
    let first = 0;
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        chunks += 1;
        first ||= performance.now() - started;
        body.append(part.value);
        const whole = duration(performance.now() - started);
        state.textContent = `${chunks} pieces, first after ${duration(first)}, ${whole} in all`;
      }
    } catch {
      throw new ApiError({
        title: "The stream broke off",
        status: response.status,
        fault: "function",
        detail: "The function failed after it had begun to answer; its log says why.",
      });
    }
  }

  limit() {
    return this.setup.timeout + GRACE_SECONDS;
  }

  /** Show time going by up to the function's timeout; returns how to stop. */
  progress() {
    const bar = $("#progress");
    const text = $("#progress-text");
    const started = performance.now();
    const show = () => {
      const seconds = (performance.now() - started) / 1000;
      bar.hidden = seconds < 0.4;
      $("i", bar).style.width = `${Math.min(100, (100 * seconds) / this.setup.timeout)}%`;
      if (seconds > 2) {
        text.textContent = `Running for ${seconds.toFixed(0)} s; it is stopped after ${this.setup.timeout} s.`;
      }
    };
    const timer = setInterval(show, 100);
    return () => {
      clearInterval(timer);
      bar.hidden = true;
      text.textContent = "";
    };
  }

  // Curl

  curl() {
    let payload = this.editor.text;
    try {
      payload = JSON.parse(payload);
    } catch {
      // It is sent as text.
    }
    const body = JSON.stringify({ payload, ...this.target() });
    const url = `${location.origin}/api/v1/functions/${this.setup.function}/invoke`;
    return [
      `curl -X POST ${quoted(url)}`,
      `-H "Authorization: Bearer $HOTSWAP_TOKEN"`,
      `-H 'Content-Type: application/json'`,
      `-d ${quoted(body)}`,
    ].join(" \\\n  ");
  }
}
