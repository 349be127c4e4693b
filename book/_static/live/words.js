// How the figures write: sentences with values in them, numbers, and text as HTML.

export const filled = (text, values) =>
  text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// With two decimals at most.
export const written = (number) =>
  `${Math.floor(100 * number + 0.5) / 100}`.replace("-", "−");

export function escape(text) {
  const named = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (character) => named[character]);
}
