// Relative times: `<time datetime="…" data-ago>` says "12 s ago" and shows UTC on hover.

import { $$ } from "./dom.js";

const STEPS = [
  [60, "s", 1],
  [3600, "min", 60],
  [86400, "h", 3600],
  [86400 * 60, "d", 86400],
  [Infinity, "mo", 86400 * 30],
];

/** How long ago, in the largest unit that fits. */
export function ago(moment, now = Date.now()) {
  const seconds = Math.max(0, (now - moment) / 1000);
  if (seconds < 2) return "now";
  const [, unit, size] = STEPS.find(([below]) => seconds < below);
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** A duration in milliseconds for people: 0.84 ms, 12 ms, 1.24 s. */
export function duration(ms) {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}

/** Hours to milliseconds of a moment, in the reader's zone. */
export function clockTime(ms) {
  const at = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  return `${time}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** Write every relative time below `root` anew. */
export function refreshTimes(root = document) {
  for (const element of $$("time[data-ago]", root)) {
    const moment = Date.parse(element.dateTime);
    element.textContent = ago(moment);
    element.title = new Date(moment).toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC");
  }
}
