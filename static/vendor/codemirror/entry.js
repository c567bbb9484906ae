// What the portal uses of CodeMirror, in one module.
export { basicSetup, minimalSetup } from "codemirror";
export { EditorView, keymap, placeholder } from "@codemirror/view";
export { EditorState, Compartment, Prec } from "@codemirror/state";
export { indentWithTab } from "@codemirror/commands";
export { indentUnit } from "@codemirror/language";
export { oneDark } from "@codemirror/theme-one-dark";
export { python } from "@codemirror/lang-python";
export { javascript } from "@codemirror/lang-javascript";
export { json } from "@codemirror/lang-json";
