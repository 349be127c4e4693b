// Fields for the exercises of a page, and on the first page the way back to where its
// reader stopped. All text goes in as text, never as HTML.

import { judged } from "./evaluate.js";
import { forget, progress, solve, stopAt } from "./progress.js";

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- a field ---------------------------------------------------------------------------

function mark(exercise) {
  const title = exercise.querySelector(".admonition-title");
  if (title.querySelector(".answer-solved")) return;
  title.append(" ", element("span", { className: "answer-solved", textContent: "solved" }));
}

// The inputs of a question, and how to read them; null when something is still empty.
function inputs(number, { kind, names }) {
  const id = `answer-${number.replace(".", "-")}`;
  if (kind === "choice") {
    const boxes = names.map((name) => element("input", { type: "checkbox", value: name }));
    const labels = boxes.map((box) => element("label", {}, box, box.value));
    const legend = element("legend", { textContent: "Your choice" });
    const read = () => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      return chosen.length ? chosen : null;
    };
    return [[element("fieldset", {}, legend, ...labels)], read];
  }
  if (kind !== "order") {
    const field = element("input", {
      id, type: "text", maxLength: 200, autocomplete: "off", spellcheck: false,
    });
    const label = element("label", { htmlFor: id, textContent: "Your answer" });
    return [[label, field], () => (field.value.trim() ? field.value : null)];
  }
  const selects = names.map((_, i) => {
    const select = element("select", {}, element("option", { value: "", textContent: "…" }),
      ...names.map((name) => element("option", { value: name, textContent: name })));
    select.setAttribute("aria-label", `Place ${i + 1} of ${names.length}`);
    return element("li", {}, select);
  });
  const list = element("ol", {}, ...selects);
  const legend = element("legend", { textContent: "Your order" });
  const read = () => {
    const found = selects.map((item) => item.firstChild.value);
    return found.includes("") ? null : found;
  };
  return [[element("fieldset", {}, legend, list)], read];
}

function addField(exercise, number, question) {
  const [parts, read] = inputs(number, question);
  const said = element("output", { className: "answer-said" });
  said.setAttribute("aria-live", "polite");
  const button = element("button", { type: "submit", textContent: "Check" });
  button.setAttribute("aria-label", `Check the answer to exercise ${number}`);
  const form = element("form", { className: "answer-field", noValidate: true },
    ...parts, button, said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const answer = read();
    const { right, text } = answer === null
      ? { right: false, text: "Not yet. Put your answer in first." }
      : judged(question, answer);
    said.textContent = text;
    said.classList.toggle("answer-right", right);
    if (!right) return;
    solve(number);
    mark(exercise);
  });
  exercise.append(form);
  // The cell below stays for those who run it; what it says to nobody's answer goes.
  const cell = exercise.nextElementSibling;
  const output = cell?.querySelector(".cell_output");
  if (output?.textContent.includes("in place of the three dots")) output.hidden = true;
}

// --- an exercise that only Python can check ---------------------------------------------

function addWaysToRun(exercise) {
  const line = element("p", { className: "answer-run" },
    "This one is checked by Python, which the page doesn't have. Run it: ");
  const ways = [...document.querySelectorAll(".dropdown-launch-buttons a[href]")]
    .map((link) => [link.textContent.trim(), link.href]);
  const copy = document.querySelector(".btn-download-source-button[href]");
  if (copy) ways.push(["download the notebook", copy.href]);
  ways.forEach(([textContent, href], i) => {
    line.append(i ? " · " : "", element("a", { href, textContent }));
  });
  if (!ways.length) return;
  const slip = exercise.querySelector(".answer-slip");
  if (slip) slip.before(line);
  else exercise.append(line);
}

// --- where the reader is ------------------------------------------------------------------

function rememberSection(chapter) {
  const heads = [...document.querySelectorAll("article h2")];
  const page = location.pathname.split("/").at(-1);
  let timer;
  const note = () => {
    const passed = heads.filter((head) => head.getBoundingClientRect().top < 200);
    if (!passed.length) return;
    const id = passed.at(-1).closest("section[id]")?.id;
    if (id) stopAt({ page, id, chapter, section: passed.length });
  };
  document.addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(note, 300);
  }, { passive: true });
}

function showProgress(map) {
  const { solved, stop } = progress();
  const nav = document.querySelector(".book-map");
  if (!nav) return;
  document.querySelectorAll(".map-solved, .map-stop, .book-progress")
    .forEach((old) => old.remove());
  const place = Object.keys(map).find((link) => link.split("/").at(-1) === stop?.page);
  const known = place && /^[\w-]+$/.test(stop.id)
    && Number.isInteger(stop.chapter) && Number.isInteger(stop.section);
  for (const link of nav.querySelectorAll("a[href]")) {
    link.removeAttribute("aria-current");
    if (known && link.getAttribute("href") === place) {
      link.setAttribute("aria-current", "location");
      link.parentElement.append(element("p", {
        className: "map-stop", textContent: `You stopped in section ${stop.section}`,
      }));
    }
    const fields = map[link.getAttribute("href")] ?? [];
    const count = fields.filter((number) => solved.includes(number)).length;
    if (!count) continue;
    link.parentElement.append(element("p", {
      className: "map-solved", textContent: `${count} of ${fields.length} answers`,
    }));
  }
  if (!known && !solved.length) return;
  const line = element("p", { className: "book-progress" });
  if (known) {
    line.append(element("a", {
      href: `${place}#${stop.id}`,
      textContent: `Continue with section ${stop.section} of chapter ${stop.chapter}`,
    }), " ");
  }
  const button = element("button", { type: "button", textContent: "Forget my progress" });
  button.title = "It is kept in this browser only.";
  button.addEventListener("click", () => {
    forget();
    showProgress(map);
  });
  line.append(button);
  nav.before(line);
}

const data = JSON.parse(document.getElementById("answers-data").textContent);
if (data.map) {
  showProgress(data.map);
} else {
  const { solved } = progress();
  for (const [number, question] of Object.entries(data.exercises)) {
    const exercise = document.getElementById(`ex-${number.replace(".", "-")}`);
    if (question.kind === "code") addWaysToRun(exercise);
    else addField(exercise, number, question);
    if (solved.includes(number)) mark(exercise);
  }
  rememberSection(data.chapter);
}
