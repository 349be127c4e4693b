// The whole file beside the text: a chapter that takes a file of code apart keeps it in
// view, with the lines lit that the section on the screen is about. Which lines these are
// stands on the page, as in "minimal.step: lines 15 to 31", and so does the file. Where a
// section explains no lines, those are lit of the functions that it names in its code.

{
  const MENTION = /^minimal\.(\w+)\D+(\d+)\D+(\d+)\D*$/; // in any language
  const READ_AT = 0.35; // the share of the screen's height at which one reads
  const KEPT = "book-beside"; // whether the file was open when the reader left

  const outputs = [...document.querySelectorAll("article .output.stream pre")];
  const mentions = outputs.flatMap((output) => output.textContent.split("\n").flatMap((line) => {
    const found = MENTION.exec(line.trim());
    return found ? [{ name: found[1], first: +found[2], last: +found[3], output }] : [];
  }));
  const listing = [...document.querySelectorAll("article .highlight-python pre")]
    .find((code) => /^\s+1 /.test(code.textContent));
  const sections = [...document.querySelectorAll("article section[id]")];

  const aside = Object.assign(document.createElement("aside"), { id: "beside", hidden: true });
  const where = document.createElement("p");
  const close = Object.assign(document.createElement("button"), { type: "button" });
  const code = document.createElement("div");
  let opener; // the button that opened the file, to which the focus returns
  let lines; // one element for each line of the file

  // Pygments closes what it opened before a line ends, so that a line is whole by itself.
  function build() {
    const pre = document.createElement("pre");
    lines = listing.innerHTML.trimEnd().split("\n").map((html) => {
      const line = Object.assign(document.createElement("span"), { innerHTML: html });
      line.className = "beside-line";
      pre.append(line, "\n");
      return line;
    });
    for (const { name, first, output } of mentions) {
      const word = [...lines[first - 1].querySelectorAll(".nf")].find((e) => e.textContent === name);
      if (!word) continue;
      const link = Object.assign(document.createElement("a"), { href: `#${sectionOf(output).id}` });
      word.replaceWith(link);
      link.append(word);
    }
    code.className = "highlight";
    code.tabIndex = 0;
    code.setAttribute("role", "group");
    code.setAttribute("aria-label", "The lines of the file");
    code.append(pre);
    close.textContent = "Close the file";
    close.addEventListener("click", () => open(false));
    aside.setAttribute("aria-label", "The whole file, with the lines of this section lit");
    aside.append(where, close, code);
    document.body.append(aside);
  }

  const sectionOf = (element) => element.closest("section[id]");

  // The innermost section that has begun above the place where one reads.
  function sectionNow() {
    const begun = sections.filter((e) => e.getBoundingClientRect().top < READ_AT * innerHeight);
    return begun.at(-1) ?? sections[0];
  }

  // Of a chapter's first heading every section is a part: only its own lines count there.
  function linesOf(section) {
    const inside = section === sections[0] ? (e) => sectionOf(e) === section : (e) => section.contains(e);
    const explained = mentions.filter(({ output }) => inside(output));
    if (explained.length) return explained;
    const code = [...section.querySelectorAll(":is(code, .cell_input)")].filter(inside);
    const names = (text) => text.match(/(?<![\w.])(?:minimal\.)?[a-z]\w*/g) ?? [];
    const named = new Set(code.flatMap((e) => names(e.textContent).map((name) => name.replace("minimal.", ""))));
    return mentions.filter(({ name }) => named.has(name));
  }

  function light() {
    const section = sectionNow();
    if (section.id === aside.dataset.section) return;
    aside.dataset.section = section.id;
    const about = linesOf(section);
    lines.forEach((line, index) => {
      const lit = about.some(({ first, last }) => first <= index + 1 && index + 1 <= last);
      line.classList.toggle("lit", lit);
      if (lit) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    });
    const said = about.map(({ name, first, last }) => `${name} ${first}–${last}`).join(", ");
    where.textContent = said ? `This section: ${said}` : "No lines belong to this section";
    const first = code.querySelector(".lit");
    if (first) code.scrollTop += first.getBoundingClientRect().top - code.getBoundingClientRect().top - 24;
  }

  function open(wanted, by) {
    if (wanted && !lines) build();
    opener = by ?? opener;
    aside.hidden = !wanted;
    document.documentElement.classList.toggle("beside-open", wanted);
    for (const button of document.querySelectorAll(".beside-button")) {
      button.setAttribute("aria-expanded", String(wanted));
    }
    try {
      sessionStorage.setItem(KEPT, wanted ? location.pathname : "");
    } catch {
      // Where nothing may be stored, nothing is remembered.
    }
    if (!wanted) return opener?.focus();
    delete aside.dataset.section;
    light();
  }

  function button(text) {
    const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    made.className = "beside-button";
    made.setAttribute("aria-expanded", "false");
    made.addEventListener("click", () => {
      // The text moves when the column gets narrower: what was pressed stays in its place.
      const before = made.getBoundingClientRect().top;
      open(aside.hidden, made);
      scrollBy({ top: made.getBoundingClientRect().top - before, behavior: "instant" });
      if (!aside.hidden) light();
    });
    return made;
  }

  if (listing && mentions.length) {
    (listing.closest("details") ?? listing.closest(".cell")).after(button("Keep the file beside the text"));
    for (const output of new Set(mentions.map((mention) => mention.output))) {
      output.closest(".output").after(button("These lines in the whole file"));
    }
    addEventListener("scroll", () => aside.hidden || light(), { passive: true });
    addEventListener("resize", () => aside.hidden || light());
    aside.addEventListener("keydown", ({ key }) => key === "Escape" && open(false));
    let kept;
    try {
      kept = sessionStorage.getItem(KEPT);
    } catch {
      // as above
    }
    if (kept === location.pathname) open(true);
  }
}
