// Figures that compute in the page, each in place of the picture that stands there
// without scripts. `live.py` writes that place; the site's build makes one script of
// this file and what it imports, which also runs in a page opened from a file.

import { faces } from "./faces.js";
import * as figures from "./figures.js";
import { filling } from "./filling.js";
import { mount } from "./mount.js";
import { planted } from "./planted.js";

document.querySelectorAll("[data-live]").forEach((root, number) =>
  mount(root, number, { ...figures, faces, filling, planted }));
