// The search page: as one types, the sections whose title or text has every word.
// search-data.js, which the site's build writes, calls bookSearch with all of them.

{
  const MOST = 40; // sections that are listed
  const AROUND = 90; // characters on each side of what was found
  let sections = [];

  window.bookSearch = (all) => {
    sections = all.map(([title, page, link, text]) => ({ title, page, link, text }));
  };

  // A long word is also found in two: tokenshift, token shift and token-shift are one.
  function pattern(word) {
    const parts = [...word].map((letter) =>
      /[\s-]/.test(letter) ? "[\\s-]?" : letter.replace(/[\\^$.*+?()[\]{}|]/, "\\$&"),
    );
    return new RegExp(parts.join(parts.length > 7 ? "[\\s-]?" : ""), "i");
  }

  const words = (query) => query.trim().split(/\s+/).filter(Boolean);

  // Sections by how well they fit: whose title is meant, then who says it together.
  function found(query) {
    const each = words(query).map(pattern);
    if (!each.length) return [];
    const together = pattern(words(query).join(" "));
    const score = ({ title, page, text }) => {
      if (!each.every((word) => word.test(title) || word.test(text))) return 0;
      const named = each.filter((word) => word.test(title)).length / each.length;
      const whole = title.replace(together, "").trim() === "" ? 8 : 0;
      return 1 + whole + 4 * named + 2 * together.test(text) + (title !== page);
    };
    return sections
      .map((section) => [score(section), section])
      .filter(([points]) => points)
      .sort(([a], [b]) => b - a)
      .map(([, section]) => section);
  }

  function add(parent, kind, properties) {
    return parent.appendChild(Object.assign(document.createElement(kind), properties));
  }

  // Text with what was found in it marked.
  function marked(parent, text, each) {
    const any = new RegExp(each.map(({ source }) => source).join("|"), "gi");
    let from = 0;
    for (const match of text.matchAll(any)) {
      parent.append(text.slice(from, match.index));
      add(parent, "mark", { textContent: match[0] });
      from = match.index + match[0].length;
    }
    parent.append(text.slice(from));
  }

  // Where a blank is, if one is near: Chinese has hardly any.
  const nearby = (blank, place) => (Math.abs(blank - place) < 30 ? blank : place);

  function excerpt(text, each) {
    const at = each.map((word) => text.search(word)).find((place) => place >= 0) ?? 0;
    const begin = at - AROUND;
    const from = at > AROUND ? nearby(text.indexOf(" ", begin) + 1, begin) : 0;
    const end = from + 2 * AROUND;
    const to = end < text.length ? nearby(text.lastIndexOf(" ", end), end) : text.length;
    return `${from ? "… " : ""}${text.slice(from, to)}${to < text.length ? " …" : ""}`;
  }

  function show(query, root) {
    const all = found(query);
    const each = words(query).map(pattern);
    root.replaceChildren();
    if (!each.length) return;
    const number = `${all.length} ${all.length === 1 ? "section" : "sections"}`;
    const shown = all.length > MOST ? `; the first ${MOST} are listed` : "";
    const none = "Nothing. Fewer words, or shorter ones, find more.";
    add(root, "p", { role: "status", textContent: all.length ? number + shown : none });
    const list = add(root, "ol", { className: "found" });
    for (const { title, page, link, text } of all.slice(0, MOST)) {
      const item = add(list, "li");
      marked(add(item, "a", { href: link }), title, each);
      if (title !== page) add(item, "span", { className: "found-in", textContent: page });
      marked(add(item, "p"), excerpt(text, each), each);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("search-results");
    const [field] = root.parentElement.querySelectorAll("form.bd-search input");
    field.value = new URLSearchParams(location.search).get("q") ?? "";
    field.addEventListener("input", () => show(field.value, root));
    field.form.addEventListener("submit", (event) => event.preventDefault());
    show(field.value, root);
    field.focus();
  });
}
