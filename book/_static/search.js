// The search, on its page and in the dialog of every other page: as one types, the
// sections whose title or text has every word, or most of what a question in Chinese is
// about, which is written without blanks. search-data.js, which the site's build writes,
// calls bookSearch with all of them; it is loaded when a search is about to begin.

{
  const MOST = 40; // sections that are listed
  const AROUND = 90; // characters on each side of what was found
  const site = new URL(document.documentElement.dataset.content_root, location.href);
  const scripts = document.currentScript.src;
  let sections = [];
  let loading; // a promise, once a search has begun

  const load = () => (loading ??= new Promise((resolve) => {
    window.bookSearch = (all) => {
      sections = all.map(([title, page, link, text]) => ({ title, page, link, text }));
      resolve();
    };
    const src = new URL("search-data.js", scripts);
    document.head.append(Object.assign(document.createElement("script"), { src }));
  }));

  const HAN = /[\u3400-\u9fff]/;
  const RUN = /[\u3400-\u9fff]+|[^\u3400-\u9fff]+/g;
  const BORDER = /[\u3400-\u9fff](?=[^\u3400-\u9fff\s])|[^\u3400-\u9fff\s](?=[\u3400-\u9fff])/g;
  const SMALL = /为什么|是什么|什么|怎么|怎样|如何|多少|哪些|一个|[的和与是了吗呢在]/;

  // A long word is also found in two: tokenshift, token shift and token-shift are one.
  // Between Chinese and other letters a blank may stand, too.
  function pattern(word) {
    const parts = [...word.replace(BORDER, "$& ")].map((letter) =>
      /[\s-]/.test(letter) ? "[\\s-]?" : letter.replace(/[\\^$.*+?()[\]{}|]/, "\\$&"),
    );
    return new RegExp(parts.join(parts.length > 7 ? "[\\s-]?" : ""), "i");
  }

  const words = (query) => query.split(/[\s，。、；：？！]+/).filter(Boolean);
  const has = (word, { title, text }) => word.test(title) || word.test(text);

  // What a question is about: its Chinese is cut at small words, and what stands nowhere
  // as a whole is looked for by its pairs of neighbouring characters.
  function pieces(query) {
    const stands = (part) => fitting([part], 0).found.length > 0;
    const pairs = (part) => Array.from(part.slice(1), (next, at) => part[at] + next);
    return words(query)
      .flatMap((word) => word.match(RUN).flatMap((run) => run.split(SMALL)))
      .filter(Boolean)
      .flatMap((part) =>
        part.length > 1 && HAN.test(part) && !stands(part) ? pairs(part) : part);
  }

  // Sections that have more than a share of these words, by how well they fit: who has
  // most of them, whose title is meant, then who says it together.
  function fitting(all, share) {
    const each = all.map(pattern);
    const together = pattern(all.join(" "));
    const score = (section) => {
      const { title, page, text } = section;
      const there = each.filter((word) => has(word, section)).length / each.length;
      if (there <= share) return 0;
      const named = each.filter((word) => word.test(title)).length / each.length;
      const whole = title.replace(together, "").trim() === "" ? 8 : 0;
      return 16 * there + whole + 4 * named + 2 * together.test(text) + (title !== page);
    };
    const found = sections
      .map((section) => [score(section), section])
      .filter(([points]) => points)
      .sort(([a], [b]) => b - a)
      .map(([, section]) => section);
    return { each, found };
  }

  // Every word; or, where that is nowhere and Chinese was asked, most of its pieces.
  function search(query) {
    const every = fitting(words(query), 0.99);
    if (every.found.length || !HAN.test(query)) return every;
    return fitting(pieces(query), 0.5);
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

  // How many there are, each time a whole sentence: translators get no fragments.
  function number(count) {
    if (!count) return "Nothing. Fewer words, or shorter ones, find more.";
    if (count === 1) return "1 section";
    if (count <= MOST) return `${count} sections`;
    return `${count} sections; the first ${MOST} are listed`;
  }

  function show(query, root) {
    const { each, found } = search(query);
    root.replaceChildren();
    root.hidden = !words(query).length;
    if (root.hidden) return;
    add(root, "p", { role: "status", textContent: number(found.length) });
    const list = add(root, "ol", { className: "found" });
    for (const { title, page, link, text } of found.slice(0, MOST)) {
      const item = add(list, "li");
      marked(add(item, "a", { href: new URL(link, site) }), title, each);
      if (title !== page) add(item, "span", { className: "found-in", textContent: page });
      marked(add(item, "p"), excerpt(text, each), each);
    }
  }

  // An arrow goes from the field to the first section, and from each to the next.
  function step(event, stops) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const next = by && stops[stops.indexOf(document.activeElement) + by];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  function searches(field, root) {
    const again = () => load().then(() => show(field.value, root));
    field.addEventListener("focus", again);
    field.addEventListener("input", again);
    root.parentElement.addEventListener("keydown", (event) =>
      step(event, [field, ...root.querySelectorAll("a")]));
  }

  document.addEventListener("DOMContentLoaded", () => {
    const dialog = document.getElementById("pst-search-dialog");
    const own = document.getElementById("search-results");
    const root = own ?? add(dialog, "section", { id: "search-results", hidden: true });
    const field = root.parentElement.querySelector("form.bd-search input");
    searches(field, root);
    root.addEventListener("click", ({ target }) => target.closest("a") && dialog?.close());
    // The theme closes its dialog from the field alone, and keeps Escape to itself.
    root.addEventListener("keydown", ({ key }) => key === "Escape" && dialog?.close());
    if (!own) return; // elsewhere a form that is sent leads to the search page
    field.value = new URLSearchParams(location.search).get("q") ?? "";
    field.form.addEventListener("submit", (event) => event.preventDefault());
    field.focus();
    field.dispatchEvent(new Event("input"));
  });
}
