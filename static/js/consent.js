// Support on the machine's page: the owner calls for help, answers who asks, and ends support.

import { submit } from "./answers.js";

const panel = () => document.getElementById("support");

document.addEventListener("submit", async (event) => {
    if (!panel()?.contains(event.target)) return;
    const place = event.target.querySelector("[data-error]") ?? panel().querySelector("[data-error]");
    if (await submit(event, place)) htmx.trigger(panel(), "changed");
});
