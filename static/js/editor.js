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

const LAYOUT = EditorView.theme({
  "&": { height: "100%", fontSize: "13px", backgroundColor: "transparent" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "'JetBrains Mono', monospace", lineHeight: "1.6", overflow: "auto" },
  ".cm-gutters": { borderRight: "none" },
});

const LIGHT = EditorView.theme({
  ".cm-gutters": { backgroundColor: "transparent", color: "#5d6776" },
  ".cm-activeLine": { backgroundColor: "#f1f3f680" },
  ".cm-activeLineGutter": { backgroundColor: "#eef0f4" },
});

const DARK = [
  EditorView.theme(
    {
      "&": { backgroundColor: "#151a21" },
      ".cm-gutters": { backgroundColor: "#151a21", color: "#8e9baa" },
      ".cm-activeLine": { backgroundColor: "#1d242d80" },
      ".cm-activeLineGutter": { backgroundColor: "#1d242d" },
    },
    { dark: true },
  ),
  oneDark,
];

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
const colours = () => (isDark() ? DARK : LIGHT);

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
        this.theme.of(colours()),
        LAYOUT,
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
