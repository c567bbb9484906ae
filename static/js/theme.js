// Light, dark, or as the system says. Kept in a cookie, so that the server draws the first frame.

const ORDER = ["system", "light", "dark"];
const YEAR = 31_536_000;

const current = () => document.documentElement.dataset.theme || "system";

/** Go to the next of the three themes and remember it. */
export function nextTheme() {
  const theme = ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length];
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.cookie = `theme=${theme}; path=/; max-age=${YEAR}; samesite=lax`;
  document.dispatchEvent(new CustomEvent("themechange"));
  return theme;
}

/** Whether the page is dark now. */
export function isDark() {
  const theme = current();
  return theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
}

/** Call `action` when the page turns light or dark. */
export function onThemeChange(action) {
  document.addEventListener("themechange", action);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", action);
}
