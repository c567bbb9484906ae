// CodeMirror inside a shadow root: there it styles itself with constructed sheets, which a strict
// Content-Security-Policy allows, and the page's own styles do not reach it.

import {
  basicSetup,
  Compartment,
  EditorState,
  EditorView,
  indentUnit,
  indentWithTab,
  javascript,
  json,
  keymap,
  minimalSetup,
  oneDark,
  Prec,
  python,
} from "../vendor/codemirror/codemirror.js";
import { isDark, onThemeChange } from "./theme.js";

const LANGUAGES = {
  py: () => [python(), indentUnit.of("    ")],
  js: () => [javascript()],
  mjs: () => [javascript()],
  cjs: () => [javascript()],
  ts: () => [javascript({ typescript: true })],
  json: () => [json()],
};

// The page's tokens reach into the shadow root, and with them light and dark.
const LAYOUT = EditorView.theme({
  "&": { height: "100%", fontSize: "13px", backgroundColor: "transparent" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6", overflow: "auto" },
  ".cm-gutters": { backgroundColor: "var(--surface)", color: "var(--ink-3)", borderRight: "none" },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--hover) 50%, transparent)" },
  ".cm-activeLineGutter": { backgroundColor: "var(--hover)" },
  ".cm-panels": {
    backgroundColor: "var(--sunken)",
    color: "var(--ink-2)",
    fontFamily: "var(--font)",
    borderColor: "var(--line)",
  },
  ".cm-panels.cm-panels-bottom": { borderTop: "1px solid var(--line)" },
  ".cm-panel.cm-search": { padding: "8px 28px 8px 12px" },
  ".cm-panel.cm-search label": { fontSize: "12px", display: "inline-flex", alignItems: "center", gap: "4px" },
  ".cm-textfield, .cm-button": {
    minHeight: "26px",
    padding: "2px 8px",
    border: "1px solid var(--line-control)",
    borderRadius: "5px",
    backgroundColor: "var(--surface)",
    backgroundImage: "none",
    color: "var(--ink)",
    font: "500 12px var(--font)",
  },
  ".cm-button": { borderColor: "var(--line-strong)", cursor: "pointer" },
  ".cm-button:hover": { backgroundColor: "var(--hover)" },
  ".cm-textfield:focus-visible, .cm-button:focus-visible": {
    outline: "2px solid var(--accent)",
    outlineOffset: "-1px",
  },
  ".cm-panel.cm-search [name=close]": { color: "var(--ink-2)", fontSize: "18px", right: "8px" },
  ".cm-tooltip": {
    border: "1px solid var(--line)",
    borderRadius: "5px",
    backgroundColor: "var(--surface)",
    color: "var(--ink)",
  },
  ".cm-tooltip-autocomplete ul li[aria-selected]": {
    backgroundColor: "var(--accent-soft)",
    color: "var(--ink)",
  },
});

const DARK = [EditorView.theme({ "&": { backgroundColor: "var(--surface)" } }, { dark: true }), oneDark];

/**
 * Typing over a selection: browsers keep its look by an inline style, which the policy refuses and
 * nobody wants here. So the editor itself replaces the text.
 */
const TYPE_OVER = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to, empty } = view.state.selection.main;
    const isTyping = event.inputType === "insertText" && event.data !== null;
    if (!isTyping || empty || view.composing || view.state.readOnly) return false;
    event.preventDefault();
    const change = () =>
      view.state.update(view.state.replaceSelection(event.data), {
        userEvent: "input.type",
        scrollIntoView: true,
      });
    const handlers = view.state.facet(EditorView.inputHandler);
    if (!handlers.some((handle) => handle(view, from, to, event.data, change))) view.dispatch(change());
    return true;
  },
});

const suffix = (name) => name.split(".").pop().toLowerCase();
const colours = () => (isDark() ? DARK : []);

/** The editor of one element; it shows one document at a time and keeps each one's history. */
export class Editor {
  /**
   * @param host an empty element with `data-label`.
   * @param options `keys` (CodeMirror bindings), `changed(text)`, `isSmall`.
   */
  constructor(host, { keys = [], changed = () => {}, isSmall = false } = {}) {
    this.keys = keys;
    this.changed = changed;
    this.isSmall = isSmall;
    this.label = host.dataset.label;
    this.theme = new Compartment();
    const root = host.attachShadow({ mode: "open" });
    const box = document.createElement("div");
    Object.assign(box.style, { height: "100%" });
    root.append(box);
    this.view = new EditorView({ root, parent: box, state: this.newState("", "") });
    onThemeChange(() => {
      this.view.dispatch({ effects: this.theme.reconfigure(colours()) });
    });
  }

  /** A document of its own, with its language from the file's name. */
  newState(text, name, { isReadOnly = false } = {}) {
    return EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(keymap.of(this.keys)),
        this.isSmall ? minimalSetup : basicSetup,
        keymap.of([indentWithTab]),
        (LANGUAGES[suffix(name)] ?? (() => []))(),
        LAYOUT,
        this.theme.of(colours()),
        TYPE_OVER,
        EditorView.lineWrapping,
        EditorState.readOnly.of(isReadOnly),
        EditorView.contentAttributes.of({ "aria-label": name || this.label }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) this.changed(update.state.doc.toString());
        }),
      ],
    });
  }

  show(state) {
    this.view.setState(state);
    this.view.dispatch({ effects: this.theme.reconfigure(colours()) });
  }

  get state() {
    return this.view.state;
  }

  get text() {
    return this.view.state.doc.toString();
  }

  set text(text) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  focus() {
    this.view.focus();
  }
}
