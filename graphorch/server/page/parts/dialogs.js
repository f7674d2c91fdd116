// A question to the reader before something happens; the button says what will.
import { h } from "./elements.js";

// Gives true if the reader agrees. `body` are elements, `action` the words of the button.
export function confirm({ title, body, action, isDangerous = false }) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-title" },
      h("div", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title)),
      h("div", { class: "dialog-body" }, ...body),
      h(
        "div",
        { class: "dialog-foot" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close("") }, "Cancel"),
        h(
          "button",
          {
            type: "button",
            class: `button ${isDangerous ? "danger" : "primary"}`,
            onclick: () => dialog.close("yes"),
          },
          action,
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
