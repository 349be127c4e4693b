// What a screen reader hears of a figure when it moves: a line of what is new in it, and
// not all of it at every step of a slider.

const SAID = ["p", "[role=img]", "tr", "dt"]; // the shortest first
const SENTENCES = /(?<=[.?!]) (?=[\p{Lu}“(])|(?<=[。？！])/u;
const MOST = 250; // letters at once

// A function that puts into `status` what is new in `output`; where only a picture is, and
// its words are the old ones, `moved`: the control, and what it is set to.
export function teller(output, status) {
  let known = [];
  return (moved) => {
    const found = SAID.map((kind) => pieces(output, kind));
    const fresh = found.map((all) => all.filter((piece) => !known.includes(piece)));
    const told = fresh.find((all) => all.length);
    if (told || moved) status.textContent = told ? line(told) : moved;
    known = found.flat();
  };
}

// The sentences of what is of a kind, or a table row by row.
function pieces(output, kind) {
  return [...output.querySelectorAll(kind)].flatMap((part) => {
    if (kind === "tr") return joined([...part.children]);
    if (kind === "dt") return joined([part, part.nextElementSibling]);
    const text = part.getAttribute("aria-label") ?? part.textContent;
    return text.split(SENTENCES);
  });
}

const joined = (cells) => cells.map((cell) => cell.textContent.trim()).join(" ");

// As many of the pieces as a line may have; of a long one, its first words.
function line(pieces) {
  let text = "";
  for (const piece of pieces) {
    if (text && text.length + piece.length >= MOST) break;
    text += text ? ` ${piece}` : piece;
  }
  return text.length > MOST ? `${text.slice(0, MOST).replace(/ [^ ]*$/, "")} …` : text;
}
