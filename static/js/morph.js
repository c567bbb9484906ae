// Make a part of the page equal to new HTML, touching only what differs: focus, selection,
// scrolling and what a person has folded away stay as they are.

const isSame = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;

function copyAttributes(old, fresh) {
  const isFolding = old instanceof HTMLDetailsElement;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(isFolding && name === "open")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (isFolding && name === "open") continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function morphNode(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.hasAttribute("data-keep")) return;
  copyAttributes(old, fresh);
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const wanted = [...fresh.childNodes];
  wanted.forEach((node, index) => {
    const rest = [...old.childNodes].slice(index);
    // An element with a name keeps its place in the document, whatever came before it.
    const found = node.id ? rest.find((each) => isSame(each, node)) : rest[0];
    if (found && isSame(found, node)) {
      while (old.childNodes[index] !== found) old.childNodes[index].remove();
      morphNode(found, node);
    } else {
      old.insertBefore(node.cloneNode(true), old.childNodes[index] ?? null);
    }
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

/** Make the children of `element` those of `html`. Elements with `data-keep` are left alone. */
export function morph(element, html) {
  morphChildren(element, new DOMParser().parseFromString(html, "text/html").body);
}
