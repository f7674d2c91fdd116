// The flows of the server, each with its picture.
import { h, plural } from "../../parts/elements.js";
import { empty } from "../../parts/states.js";
import { inline, visible } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";
import { FlowPicture } from "./flow_picture.js";

export class FlowList {
  static async open(context) {
    const { flows } = await context.api.get("/flows");
    return new FlowList(context, flows);
  }

  constructor(context, flows) {
    this.title = "Start";
    this.pictures = [];
    const none = empty(
      "No flow is loaded here",
      "A journal never says which code to run. Name a flow on the command line to start it from the page:",
      h("pre", { class: "command" }, "graphorch serve flow.py:flow"),
    );
    this.el = h(
      "div",
      {},
      h("div", { class: "page-head" }, h("h1", {}, "Start a run")),
      flows.length
        ? h("ul", { class: "flows" }, ...flows.map((flow) => this.buildRow(context, flow)))
        : none,
    );
  }

  close() {
    for (const picture of this.pictures) picture.close();
  }

  buildRow(context, flow) {
    const picture = new FlowPicture(context.api, flow.name, "LR");
    this.pictures.push(picture);
    return h(
      "li",
      { class: "flow-card pane" },
      picture.el,
      h(
        "div",
        { class: "flow-card-words" },
        h(
          "h2",
          {},
          h(
            "a",
            { class: "flow-link", href: writeAddress({ path: ["start", flow.name] }) },
            inline(flow.name),
          ),
        ),
        flow.about ? h("p", { class: "flow-about" }, visible(flow.about)) : null,
        h(
          "p",
          { class: "small muted break" },
          inline(`${flow.input} → ${flow.output}`, { class: "mono" }),
          ` · ${plural(flow.nodes, "node")} · `,
          inline(flow.reference, { class: "mono" }),
        ),
      ),
    );
  }
}
