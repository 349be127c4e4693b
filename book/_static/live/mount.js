// Put controls into `root`, and below them what a figure says about their values: at once,
// and where it has to fetch or to compute for long, some time later.

export function mount(root, number, figures) {
  if (root.dataset.mounted) return; // a page with two figures loads the script twice
  root.dataset.mounted = "yes";
  const { figure, controls, data } = JSON.parse(root.dataset.live);
  root.replaceChildren();
  const fields = make("div", root, { className: "live-fields" });
  const output = make("div", root, { className: "live-output" });
  output.setAttribute("role", "status");
  const values = {};
  const chosen = [];
  let turn = 0;
  const show = () => {
    const now = ++turn;
    const isWanted = () => now === turn;
    const put = (html) => {
      if (isWanted()) output.innerHTML = html;
    };
    put(figures[figure](values, data, { show: put, isWanted }));
  };
  controls.forEach((control, position) => {
    const field = make("div", fields);
    const id = `live-${number}-${position}`;
    const label = make("label", field, { htmlFor: id, textContent: control.label });
    const read = kinds[control.kind](control, field, label, id, values);
    const choose = () => {
      values[control.name] = read();
    };
    chosen.push(choose);
    field.addEventListener("input", () => {
      chosen.forEach((each) => each());
      show();
    });
    choose();
  });
  show();
}

function make(kind, parent, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(kind), properties));
}

// Each puts an input into its field and returns a function that reads its value.
const kinds = {
  slider({ options, start }, field, label, id) {
    const said = make("span", label, { className: "live-value" });
    const input = make("input", field, { id, type: "range", min: 0, step: 1 });
    input.max = options.length - 1;
    input.value = start;
    return () => {
      const [text, value] = options[input.value];
      said.textContent = text;
      input.setAttribute("aria-valuetext", text);
      return value;
    };
  },

  // Along a text: it ends where the text does, and where it stands at its end, it stays
  // there while the text grows.
  along({ start, text, most }, field, label, id, values) {
    const said = make("span", label, { className: "live-value" });
    const input = make("input", field, { id, type: "range", min: 0, step: 1, max: most });
    input.value = start;
    return () => {
      const atEnd = input.value === input.max;
      input.max = Math.min([...values[text]].length, most);
      if (atEnd) input.value = input.max;
      said.textContent = input.value;
      input.setAttribute("aria-valuetext", input.value);
      return Number(input.value);
    };
  },

  menu({ options, start }, field, label, id) {
    const select = make("select", field, { id });
    for (const [textContent] of options) make("option", select, { textContent });
    select.selectedIndex = start;
    return () => options[select.selectedIndex][1];
  },

  text({ start, longest }, field, label, id) {
    const input = make("input", field, { id, type: "text", value: start, maxLength: longest });
    input.spellcheck = false;
    field.className = "live-wide";
    return () => input.value;
  },
};
