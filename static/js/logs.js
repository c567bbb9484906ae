// A function's live log: a websocket that resumes by line number, a filter, and a list that only
// holds the lines in view.

import { get } from "./api.js";
import { $, debounced, make, pageData } from "./dom.js";
import { Socket } from "./sockets.js";
import { clockTime } from "./times.js";

const setup = pageData("setup");
const KEPT = 20_000;
const LINE_PX = 20;
const SPARE = 12;
const OLDER_LINES = 500;

const box = $("#log");
const space = $("#log-space");
const text = $("#log-text");
const level = $("#log-level");
const pauseButton = $("#log-pause");

let lines = [];
let shown = [];
let waiting = [];
let cursor = null;
let isPaused = false;
let forgotten = 0;
let hasOlder = true;
let isFetching = false;

// Filtering

function matcher() {
  const wanted = text.value.trim().toLowerCase();
  const levels = new Set(level.value ? level.value.split(",") : []);
  return (line) =>
    line.level === "GAP" ||
    ((!levels.size || levels.has(line.level)) &&
      (!wanted || line.text.toLowerCase().includes(wanted) || line.requestId.includes(wanted)));
}

function refilter() {
  const matches = matcher();
  shown = lines.filter(matches);
  draw(true);
}

// Drawing: every line has the same height, so its place is its number times that.

const isAtEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < LINE_PX * 2;

function row(line, index) {
  const element = make("div", { class: "log-line", "data-level": line.level });
  element.style.top = `${index * LINE_PX}px`;
  if (line.level === "GAP") {
    element.append(make("span", {}), make("span", {}), make("span", { class: "who" }), make("span", { class: "text" }, line.text));
    return element;
  }
  const who = make("button", { type: "button", class: "who", tabindex: "-1", title: `Only request ${line.requestId}` });
  who.textContent = line.requestId.slice(-8);
  who.addEventListener("click", () => {
    text.value = line.requestId;
    refilter();
  });
  element.append(
    make("time", { title: line.time }, clockTime(Date.parse(line.time))),
    make("span", { class: "level" }, line.level),
    who,
    make("span", { class: "text", title: line.text.length > 120 ? line.text : null }, line.text.split("\n", 1)[0]),
  );
  return element;
}

function draw(follow = isAtEnd()) {
  space.style.height = `${shown.length * LINE_PX}px`;
  if (follow && !isPaused) box.scrollTop = box.scrollHeight;
  const first = Math.max(0, Math.floor(box.scrollTop / LINE_PX) - SPARE);
  const last = Math.ceil((box.scrollTop + box.clientHeight) / LINE_PX) + SPARE;
  space.replaceChildren(...shown.slice(first, last).map((line, index) => row(line, first + index)));
  const part = shown.length === lines.length ? "" : `${shown.length.toLocaleString("en")} of `;
  const more = forgotten ? `, ${forgotten.toLocaleString("en")} older ones let go` : "";
  const held = waiting.length ? `, ${waiting.length.toLocaleString("en")} waiting` : "";
  $("#log-count").textContent = `${part}${lines.length.toLocaleString("en")} lines${more}${held}`;
  if (!shown.length) space.replaceChildren(emptyNote());
}

function emptyNote() {
  const words = lines.length
    ? "No line matches the filter."
    : "Nothing was printed yet. Lines appear here within a second of being printed.";
  return make("p", { class: "empty muted" }, words);
}

function add(fresh) {
  if (isPaused) {
    waiting.push(...fresh);
    if (waiting.length > KEPT) waiting = waiting.slice(-KEPT);
    return draw(false);
  }
  const follow = isAtEnd();
  lines.push(...fresh);
  const extra = lines.length - KEPT;
  if (extra > 0) {
    lines = lines.slice(extra);
    forgotten += extra;
    shown = lines.filter(matcher());
  } else {
    shown.push(...fresh.filter(matcher()));
  }
  return draw(follow);
}

// History: scrolling to the top brings older lines, and what is in view stays where it is.

async function fetchOlder() {
  const oldest = lines.find((line) => line.seq)?.seq;
  if (!hasOlder || isFetching || !oldest || lines.length >= KEPT) return;
  isFetching = true;
  const query = `before=${oldest}&limit=${OLDER_LINES}`;
  try {
    const page = await get(`/api/v1/functions/${encodeURIComponent(setup.function)}/logs?${query}`);
    hasOlder = !page.atStart;
    const older = page.items.filter(matcher());
    lines.unshift(...page.items);
    shown.unshift(...older);
    draw(false);
    box.scrollTop += older.length * LINE_PX;
  } catch (error) {
    say("warn", `Older lines: ${error.message}`);
  } finally {
    isFetching = false;
  }
}

// The connection

function say(tone, words) {
  const state = $("#log-state");
  $(".dot", state).className = `dot ${tone}`;
  $("span:last-child", state).textContent = words;
}

const takes = {
  ready: () => say("ok", "Live"),
  heartbeat: (message) => {
    cursor = message.cursor;
  },
  lines: (message) => {
    cursor = message.cursor;
    add(message.lines);
  },
  gap: (message) => {
    cursor = message.last;
    const count = message.count.toLocaleString("en");
    add([{ level: "GAP", text: `${count} lines left out: this page could not keep up. The API has them.` }]);
  },
};

function address() {
  const after = cursor === null ? "" : `?after=${cursor}`;
  return `/ws/functions/${encodeURIComponent(setup.function)}/logs${after}`;
}

// Controls

pauseButton.addEventListener("click", () => {
  isPaused = !isPaused;
  pauseButton.setAttribute("aria-pressed", String(isPaused));
  $("span", pauseButton).textContent = isPaused ? "Resume" : "Pause";
  if (isPaused) return;
  const held = waiting;
  waiting = [];
  add(held);
});
$("#log-clear").addEventListener("click", () => {
  lines = [];
  shown = [];
  forgotten = 0;
  hasOlder = false;
  draw(true);
});
text.addEventListener("input", debounced(refilter, 100));
level.addEventListener("change", refilter);
box.addEventListener(
  "scroll",
  () => {
    requestAnimationFrame(() => draw(false));
    if (box.scrollTop < LINE_PX) fetchOlder();
  },
  { passive: true },
);

draw(true);
new Socket(address, takes, say);
