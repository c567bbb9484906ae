// Parts of a page that stay current: `data-live` names their address and seconds between looks.

import { $, $$ } from "./dom.js";
import { ago, refreshTimes } from "./times.js";

const SLOWEST_MS = 60_000;

class LivePart {
  constructor(element) {
    this.element = element;
    this.period = Number(element.dataset.every || 3) * 1000;
    this.wait = this.period;
    this.seen = Date.now();
    this.dot = $(element.dataset.fresh);
    this.next();
  }

  next() {
    setTimeout(() => this.look(), this.wait);
  }

  async look() {
    if (!document.hidden && !this.isBusy()) {
      try {
        await this.fetch();
        this.seen = Date.now();
        this.wait = this.period;
      } catch {
        this.wait = Math.min(this.wait * 2, SLOWEST_MS);
      }
      this.show();
    }
    this.next();
  }

  /** Whether someone works inside: a focused field or an open dialog must not vanish. */
  isBusy() {
    return this.element.matches(":focus-within") || Boolean($("dialog[open]", this.element));
  }

  async fetch() {
    const response = await fetch(this.element.dataset.live, {
      headers: { "X-Partial": "1" },
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    const html = await response.text();
    if (this.isBusy() || html === this.last) return;
    this.last = html;
    const marked = $("tr.is-current", this.element)?.dataset.href;
    const part = new DOMParser().parseFromString(html, "text/html").body;
    this.element.replaceChildren(...part.childNodes);
    if (marked) $(`tr[data-href="${CSS.escape(marked)}"]`, this.element)?.classList.add("is-current");
    refreshTimes(this.element);
    this.element.dispatchEvent(new CustomEvent("live"));
  }

  show() {
    if (!this.dot) return;
    const isFresh = Date.now() - this.seen < this.period * 2.5;
    $(".dot", this.dot).className = `dot ${isFresh ? "ok" : "warn"}`;
    $("span:last-child", this.dot).textContent = isFresh ? "Live" : `No update: ${ago(this.seen)}`;
  }
}

for (const element of $$("[data-live]")) new LivePart(element);
