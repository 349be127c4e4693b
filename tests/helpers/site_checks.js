// What tests/pages/test_site.py asks of a page, from inside it.

const all = (selector) => [...document.querySelectorAll(selector)];
const opening = (element) => element.outerHTML.slice(0, 120);

// Of the elements of each kind the first `count` stay as they are.
function thin(selector, kindOf, count, drop = (element) => element.remove()) {
  const seen = {};
  for (const element of all(selector)) {
    if (!element.isConnected) continue;
    const kind = kindOf(element);
    seen[kind] = (seen[kind] ?? 0) + 1;
    if (seen[kind] > count) drop(element);
  }
}

// A kind: all names of elements and classes that are in it.
const made = (element) =>
  [...new Set([element, ...element.querySelectorAll("*")].map((e) => `${e.tagName}.${e.className}`))]
    .sort().join(" ");

// The same of an element in its place: the classes around it belong to its kind.
const placed = (element) => {
  const around = [];
  for (let e = element.parentElement; e; e = e.parentElement) around.push(`${e.tagName}.${e.className}`);
  return `${made(element)} in ${around.join(" ")}`;
};

// A kind of what is drawn: its element, and what gives it a colour.
const drawn = (element) =>
  [element.tagName, element.getAttribute("class"), element.getAttribute("style"), element.getAttribute("fill")].join(" ");

window.siteChecks = {
  // Formulas are typeset, where they are waited for, and figures can be moved.
  settled: (formulas = true) =>
    document.readyState === "complete" &&
    (!formulas || !document.querySelector(".math") || document.querySelector("mjx-container")) &&
    all("[data-live]").every((figure) => figure.dataset.mounted),

  // Formulas or directives that the reader sees as source text.
  unfinishedMarkup: () => {
    const page = document.querySelector("article").cloneNode(true);
    const source = "pre, code, script, style, mjx-container, annotation";
    page.querySelectorAll(source).forEach((element) => element.remove());
    return page.textContent.match(/\$\$|\{(term|cite|eq|ref|doc|numref)\}|:{3,}|```/g) || [];
  },

  // Pictures without words: no alt text, a path for one, or a drawing without a name.
  namelessPictures: () => {
    const images = all("article img").filter((image) => /^$|^\S*[/.]\S*$/.test(image.alt));
    const drawings = all("article .cell_output svg").filter(
      (drawing) =>
        !drawing.parentElement.closest("svg, button") &&
        !drawing.closest("[aria-hidden=true]") &&
        !(drawing.getAttribute("role") === "img" && drawing.getAttribute("aria-label")?.trim()),
    );
    return [...images, ...drawings].map(opening);
  },

  // Formulas that a screen reader cannot say.
  silentFormulas: () =>
    all("mjx-container:not(:has(mjx-assistive-mml math))").map(opening),

  // What sticks out of the window on the right, outside of anything that scrolls itself.
  wide: () => {
    if (document.scrollingElement.scrollWidth <= innerWidth) return [];
    const sticksOut = (element) => element.getBoundingClientRect().right > innerWidth + 1;
    return [document.scrollingElement, ...all("body *").filter(sticksOut).slice(0, 8)].map(opening);
  },

  // The height of the smallest letters in the figures of a page, in pixels.
  smallestLetters: () =>
    Math.min(
      ...all("article .cell_output svg[role=img] text")
        .filter((text) => text.textContent.trim() && text.getClientRects().length)
        .map((text) => {
          const { a, b } = text.getScreenCTM(); // turned or not
          return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b);
        }),
    ),

  // Commands to copy that don't stand there whole.
  cutCommands: () =>
    all(".bd-article .highlight-bash pre")
      .filter((pre) => pre.checkVisibility() && pre.scrollWidth > pre.clientWidth + 1)
      .map((pre) => pre.textContent),

  // What axe finds, at every level. Its time goes with the number of elements, and most
  // are made alike: of each kind the first few stay.
  violations: async (whole = false) => {
    if (!whole) {
      thin(".highlight pre span[class]", (word) => {
        const block = word.closest(".highlight").parentElement;
        return `${block.className} ${word.parentElement.className} ${word.className}`;
      }, 1, (word) => word.replaceWith(...word.childNodes));
      const referenced = new Set(
        ["aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "for"].flatMap((name) =>
          all(`[${name}]`).flatMap((element) => element.getAttribute(name).split(/\s+/)),
        ),
      );
      const named = (element) =>
        [element, ...element.querySelectorAll("[id]")].some(({ id }) => referenced.has(id));
      thin("mjx-container", () => "a formula", 3);
      thin("svg :is(path, rect, text, use, circle, line):not([id])", drawn, 1);
      thin("svg g:not(:has(*))", drawn, 1);
      const repeated = "dl.py, .cell, .highlight, .admonition, details, table, tr, li, p:not(summary p)";
      thin(`article :is(${repeated}), nav li, .indextable li`, placed, 2, (element) => {
        if (!named(element)) element.remove();
      });
    }
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.target.join(" ")}`),
    );
  },
};
