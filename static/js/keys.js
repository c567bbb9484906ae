// Keys that work everywhere: g + letter to go, / to search, ? for help, j/k in lists.

import { $, $$, isTyping } from "./dom.js";

const GO_MS = 1200;
let goUntil = 0;

function goTo(letter) {
  const link = $(`[data-go="${letter}"]`);
  if (link) location.assign(link.href);
}

function focusSearch() {
  const field = $("[data-search]");
  field?.focus();
  field?.select();
  return Boolean(field);
}

/** Move the mark in the page's first list of links. */
function moveMark(step) {
  const rows = $$("tr[data-href]");
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("is-current"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + step))];
  rows[at]?.classList.remove("is-current");
  next.classList.add("is-current");
  next.scrollIntoView({ block: "nearest" });
}

function openMarked() {
  const row = $("tr.is-current[data-href]");
  if (row) location.assign(row.dataset.href);
  return Boolean(row);
}

/** Start listening. `palette` and `help` open the two dialogs. */
export function listen({ palette, help }) {
  const plain = {
    "/": focusSearch,
    "?": help,
    j: () => moveMark(1),
    k: () => moveMark(-1),
    g: () => {
      goUntil = performance.now() + GO_MS;
    },
  };
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      palette();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
    if ($("dialog[open]")) return;
    if (performance.now() < goUntil) {
      goUntil = 0;
      goTo(event.key);
      return;
    }
    if (event.key === "Enter" && event.target === document.body) openMarked();
    const action = plain[event.key];
    if (action) {
      if (event.key === "/") event.preventDefault();
      action();
    }
  });
}

/** A click anywhere in a row of a list opens it; links and buttons inside keep their meaning. */
document.addEventListener("click", (event) => {
  if (event.target.closest("a, button, input, label, summary")) return;
  const row = event.target.closest("tr[data-href]");
  if (row && !getSelection().toString()) location.assign(row.dataset.href);
});
