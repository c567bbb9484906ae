// Runs on every page.

import { $, $$ } from "./dom.js";
import { listen } from "./keys.js";
import "./live.js";
import { toast } from "./notices.js";
import { togglePalette } from "./palette.js";
import { nextTheme } from "./theme.js";
import { refreshTimes } from "./times.js";

const shell = $(".shell");
const help = $("#help");

function setMenu(isOpen) {
  shell.dataset.menu = isOpen ? "open" : "closed";
  $("#menu-button").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) $("#sidebar a").focus();
}

function confirmName(field) {
  const button = $("[type=submit]", field.form);
  button.disabled = field.value !== field.dataset.confirm;
}

listen({ palette: togglePalette, help: () => help.showModal() });

$("#menu-button").addEventListener("click", () => setMenu(shell.dataset.menu !== "open"));
shell.addEventListener("click", (event) => {
  if (event.target === shell) setMenu(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shell.dataset.menu === "open") setMenu(false);
});

const actions = {
  theme: () => toast(`Theme: ${nextTheme()}`),
  palette: togglePalette,
  help: () => help.showModal(),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do], [data-dialog], [data-close]");
  if (!button) return;
  if (button.dataset.do) actions[button.dataset.do]?.();
  if (button.dataset.dialog) $(button.dataset.dialog)?.showModal();
  if (button.hasAttribute("data-close")) button.closest("dialog")?.close();
});

document.addEventListener("input", (event) => {
  if (event.target.dataset?.confirm) confirmName(event.target);
});
for (const field of $$("[data-confirm]")) confirmName(field);

/** A form is sent once; its button says so until the next page is there. */
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || event.defaultPrevented || event.target.method === "dialog") return;
  if (button.classList.contains("is-busy")) return event.preventDefault();
  button.classList.add("is-busy");
  return button.setAttribute("aria-disabled", "true");
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of $$(".is-busy")) button.classList.remove("is-busy");
});

for (const field of $$("[data-submit]")) field.addEventListener("change", () => field.form.requestSubmit());

refreshTimes();
setInterval(refreshTimes, 5000);
document.documentElement.dataset.ready = "true";
