// The result of a test: status, body, where the time went, memory, logs, or the problem.

import { get } from "./api.js";
import { icon, make } from "./dom.js";
import { clockTime, duration } from "./times.js";

const LOG_WAIT_MS = 6000;
const LOG_LOOK_MS = 400;

const FAULTS = {
  function: "The function's own code or limits are at fault.",
  caller: "The request is at fault.",
  platform: "The platform is at fault; an operator should look.",
};

function badge(text, tone, name = null) {
  return make("span", { class: `badge ${tone}` }, name ? icon(name) : null, text);
}

/** JSON with indents; anything else as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function block(text, label) {
  return make("pre", { class: "code-block result-body", tabindex: "0", "aria-label": label }, text);
}

/** The bar that divides a call's time; `parts` are milliseconds. */
function timeBar({ queueMs, initMs, runMs }) {
  const parts = [
    ["queue", "queue", queueMs],
    ["init", "start", initMs],
    ["run", "run", runMs],
  ];
  const bar = make("div", { class: "parts", "aria-hidden": "true" });
  const legend = make("div", { class: "legend" });
  for (const [name, word, ms] of parts) {
    if (ms > 0) bar.append(make("i", { class: name, style: { flex: `${ms} 1 0` } }));
    legend.append(make("span", { class: name }, `${word} ${duration(ms)}`));
  }
  return make("div", { class: "stack" }, bar, legend);
}

function facts(pairs) {
  const list = make("dl", { class: "facts" });
  for (const [term, value] of pairs) list.append(make("dt", {}, term), make("dd", {}, value));
  return list;
}

function head(isGood, status, rest) {
  const tone = isGood ? "ok" : "bad";
  const mark = badge(isGood ? `${status} succeeded` : `${status} failed`, tone, isGood ? "circle-check" : "circle-x");
  return make("div", { class: "result-head", "data-status": String(status) }, mark, ...rest);
}

function start(isCold) {
  return isCold ? badge("cold start", "info", "snowflake") : badge("warm", "");
}

/** A finished call. `answer` is the gateway's envelope. */
function success(answer) {
  const isGood = answer.statusCode < 400;
  const body = answer.isBase64Encoded ? `${answer.body}\n(base64)` : pretty(answer.body);
  return [
    head(isGood, answer.statusCode, [
      start(answer.coldStart),
      badge(answer.executedVersion, "accent"),
      make("span", { class: "small muted num" }, duration(answer.executionTime)),
    ]),
    block(body, "Body"),
    timeBar(answer.durations),
    facts([
      ["Billed", `${answer.billedDuration} ms`],
      ["Memory", `${answer.memoryUsed} MB`],
      ["Request", make("code", { class: "tiny" }, answer.requestId)],
    ]),
  ];
}

function stack(lines) {
  if (!lines?.length) return null;
  return block(lines.map((line) => String(line).trimEnd()).join("\n"), "Stack trace");
}

/** A refused or failed call, from its problem document. */
export function problem(document) {
  const slug = document.type?.split("/").pop();
  const title = document.errorType ? `${document.title}: ${document.errorType}` : document.title;
  const about = make("span", {}, make("strong", {}, title), make("br"), document.detail ?? "");
  const note = make("div", { class: "note bad", role: "alert" }, icon("circle-alert"), about);
  const meaning = make("p", { class: "small soft" }, FAULTS[document.fault] ?? "", " ");
  if (document.retryable) meaning.append("Trying again may help. ");
  if (slug) meaning.append(make("a", { href: `/problems/${slug}` }, "What this means"));
  const fields = (document.errors ?? []).map((each) =>
    make("li", { class: "small" }, `${each.field ? `${each.field}: ` : ""}${each.message}`),
  );
  return [
    head(false, document.status || "No answer", document.executedVersion ? [badge(document.executedVersion, "accent")] : []),
    note,
    fields.length > 1 ? make("ul", {}, ...fields) : null,
    stack(document.stackTrace),
    meaning,
  ];
}

/** Draw what the test endpoint answered. */
export function draw(target, { status, document }) {
  const parts = status < 400 && document.requestId ? success(document) : problem({ status, ...document });
  target.replaceChildren(...parts.filter(Boolean));
}

/** Draw a problem that kept the call from being made. */
export function drawProblem(target, document) {
  target.replaceChildren(...problem(document).filter(Boolean));
}

function logLine(line) {
  const row = make("div", { class: "log-line", "data-level": line.level });
  row.append(
    make("time", {}, clockTime(Date.parse(line.time)).slice(0, 8)),
    make("span", { class: "level" }, line.level),
    make("span", { class: "text" }, line.text),
  );
  return row;
}

/** Wait a moment for the call's log lines and add them below the result. */
export async function drawLogs(target, functionName, requestId) {
  const box = make("div", { class: "log short", tabindex: "0", "aria-label": "Log of this call" });
  const state = make("p", { class: "tiny muted" }, "Waiting for the log…");
  target.append(make("div", { class: "label" }, "Log"), box, state);
  const url = `/api/v1/functions/${functionName}/logs?after=0&limit=500&requestId=${requestId}`;
  const end = performance.now() + LOG_WAIT_MS;
  while (target.isConnected && box.isConnected) {
    const page = await get(url, { seconds: 5 }).catch(() => null);
    const lines = page?.items ?? [];
    if (lines.length) box.replaceChildren(...lines.map(logLine));
    const isWhole = lines.some((line) => line.level === "PLATFORM" && line.text.startsWith("REPORT"));
    if (isWhole || performance.now() > end) {
      state.textContent = lines.length ? "" : "It printed nothing within 6 s; later lines are under Logs.";
      state.hidden = Boolean(lines.length);
      return;
    }
    await new Promise((done) => setTimeout(done, LOG_LOOK_MS));
  }
}
