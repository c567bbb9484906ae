// The command palette: pages, actions of this page, and functions by name.

import { get } from "./api.js";
import { $, $$, debounced, icon, make } from "./dom.js";

const dialog = $("#palette");
const field = $("input", dialog);
const list = $("ul", dialog);
let choices = [];
let at = 0;
let question = 0;

/** Links and buttons that the page offers by `data-command`. */
function pageCommands() {
  return $$("[data-command]").map((element) => ({
    label: element.dataset.command,
    icon: element.dataset.commandIcon || "arrow-right",
    hint: element.dataset.go ? `g ${element.dataset.go}` : "",
    run: () => element.click(),
  }));
}

async function functionsLike(text) {
  const found = await get(`/search.json?q=${encodeURIComponent(text)}`, { seconds: 5 });
  return found.functions.map((each) => ({
    label: each.name,
    icon: "square-function",
    hint: each.runtime,
    run: () => location.assign(each.url),
  }));
}

function matches(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return pageCommands().filter(({ label }) =>
    words.every((word) => label.toLowerCase().includes(word)),
  );
}

function draw() {
  list.replaceChildren(
    ...choices.map((choice, index) =>
      make(
        "li",
        {
          id: `choice-${index}`,
          role: "option",
          "aria-selected": String(index === at),
          onclick: () => choose(index),
          onpointermove: () => mark(index),
        },
        icon(choice.icon),
        make("span", { class: "cut" }, choice.label),
        choice.hint ? make("span", { class: "hint" }, choice.hint) : null,
      ),
    ),
  );
  if (!choices.length) list.append(make("li", {}, "Nothing matches."));
  field.setAttribute("aria-activedescendant", choices.length ? `choice-${at}` : "");
}

function mark(index) {
  if (index === at || !choices.length) return;
  list.children[at]?.setAttribute("aria-selected", "false");
  at = (index + choices.length) % choices.length;
  list.children[at].setAttribute("aria-selected", "true");
  list.children[at].scrollIntoView({ block: "nearest" });
  field.setAttribute("aria-activedescendant", `choice-${at}`);
}

function choose(index) {
  dialog.close();
  choices[index]?.run();
}

const ask = debounced(async (text, number) => {
  const found = await functionsLike(text).catch(() => []);
  if (number !== question) return;
  choices = [...matches(text), ...found];
  draw();
}, 120);

function changed() {
  at = 0;
  choices = matches(field.value);
  draw();
  ask(field.value, ++question);
}

/** Open it, or close it when it is open. */
export function togglePalette() {
  if (dialog.open) return dialog.close();
  field.value = "";
  dialog.showModal();
  return changed();
}

field.addEventListener("input", changed);
field.addEventListener("keydown", (event) => {
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key in steps) {
    event.preventDefault();
    mark(at + steps[event.key]);
  } else if (event.key === "Enter") {
    event.preventDefault();
    choose(at);
  }
});
