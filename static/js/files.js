// The files of one version while they are edited: what was loaded, what has changed, what to save.

export class Files {
  /** @param loaded `[{name, size, text}]` as the API gives them; text is null for binary files. */
  constructor(loaded) {
    this.saved = new Map(loaded.map((file) => [file.name, file.text]));
    this.now = new Map(this.saved);
    this.sizes = new Map(loaded.map((file) => [file.name, file.size]));
  }

  names() {
    return [...this.now.keys()].sort();
  }

  has(name) {
    return this.now.has(name);
  }

  isEditable(name) {
    return typeof this.now.get(name) === "string";
  }

  text(name) {
    return this.now.get(name) ?? "";
  }

  set(name, text) {
    this.now.set(name, text);
  }

  remove(name) {
    this.now.delete(name);
  }

  isChanged(name) {
    return this.now.get(name) !== this.saved.get(name);
  }

  /** What the API takes as `files`: new texts, and null for what was removed. */
  edits() {
    const edits = {};
    for (const [name, text] of this.now) if (this.isChanged(name)) edits[name] = text;
    for (const name of this.saved.keys()) if (!this.now.has(name)) edits[name] = null;
    return edits;
  }

  get isDirty() {
    return Object.keys(this.edits()).length > 0;
  }

  /** Say that everything is saved now. */
  settle() {
    this.saved = new Map(this.now);
  }
}
