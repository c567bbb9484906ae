// Short messages in the corner, and copying with one of them.

import { $, icon, make } from "./dom.js";

const SHOWN_MS = 6000;

/** Say something without taking the focus. `tone` is "ok" or "bad". */
export function toast(text, tone = "ok") {
  const close = make("button", {
    type: "button",
    class: "button quiet square compact",
    "aria-label": "Close",
    onclick: () => note.remove(),
  });
  close.append(icon("x"));
  const note = make("div", { class: `toast ${tone}` }, make("span", { class: "grow" }, text), close);
  $("#toasts").append(note);
  if (tone !== "bad") setTimeout(() => note.remove(), SHOWN_MS);
}

/** Put text on the clipboard and say so. */
export async function copy(text, what = "Copied") {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what}.`);
  } catch {
    toast("The browser refused access to the clipboard.", "bad");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button.dataset.copy, button.dataset.copied);
});
