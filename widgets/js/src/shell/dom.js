// Elements with text as text: nothing in these views is ever parsed as HTML.
const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) set(node, name, value);
  for (const child of children) node.append(child);
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Sets an attribute only if it differs: an unchanged picture costs the browser nothing. */
export function set(node, name, value) {
  const text = String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
