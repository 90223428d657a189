// What every page does: theme, menus, questions before something is lost, counting times, copying.

const root = document.documentElement;
const words = document.body.dataset;

// Theme
const themeButton = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
const nameTheme = () => {
    const label = isDark() ? words.light : words.dark;
    themeButton.querySelector("span").textContent = label;
    themeButton.title = label;
};
if (themeButton) {
    themeButton.hidden = false;
    nameTheme();
    prefersDark.addEventListener("change", nameTheme);
    themeButton.addEventListener("click", () => {
        root.dataset.theme = isDark() ? "light" : "dark";
        localStorage.setItem("visa-theme", root.dataset.theme);
        nameTheme();
    });
}

// Menus close when one looks elsewhere
const closeMenus = (but) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
        if (menu !== but) menu.open = false;
    }
};
document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && document.activeElement.closest("details.menu[open]");
    if (menu) {
        menu.open = false;
        menu.querySelector("summary").focus();
    }
});
document.addEventListener("focusout", (event) => {
    const menu = event.target.closest("details.menu[open]");
    if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});

// Questions: a form with data-question asks in a dialog, and says `confirmed` to the server when the answer is yes
const dialog = document.getElementById("confirm");
const ask = (form) => {
    const yes = document.getElementById("confirm-yes");
    document.getElementById("confirm-title").textContent = form.dataset.question;
    document.getElementById("confirm-loss").textContent = form.dataset.loss;
    yes.textContent = form.dataset.yes;
    yes.classList.toggle("danger", "danger" in form.dataset);
    yes.classList.toggle("primary", !("danger" in form.dataset));
    dialog.form = form;
    closeMenus(null);
    dialog.showModal();
};
document.addEventListener(
    "submit",
    (event) => {
        const form = event.target;
        if (!form.dataset.question || form.elements.confirmed) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        ask(form);
    },
    true,
);
dialog.addEventListener("click", (event) => {
    const answer = event.target.closest("button")?.value;
    if (answer) dialog.close(answer);
});
dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "yes") return;
    dialog.returnValue = "";
    const said = Object.assign(document.createElement("input"), { type: "hidden", name: "confirmed", value: "yes" });
    dialog.form.append(said);
    dialog.form.requestSubmit();
});

// Times that count
const took = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
};
setInterval(() => {
    for (const place of document.querySelectorAll("[data-elapsed]")) {
        place.textContent = took((Date.now() - Date.parse(place.dataset.elapsed)) / 1000);
    }
}, 1000);

// Copying
document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.querySelector("span").textContent = button.dataset.copied;
});

// htmx: a page of the sign-in is not a card, and a failure is said
document.addEventListener("htmx:beforeSwap", (event) => {
    if (new URL(event.detail.xhr.responseURL, location.href).pathname.startsWith("/accounts/")) {
        event.preventDefault();
        location.reload();
    }
});
const fail = (event) => {
    const asked = event.detail.requestConfig?.verb;
    if (asked && asked !== "get") {
        document.dispatchEvent(new CustomEvent("visa:say", { detail: words.failed }));
    }
};
document.addEventListener("htmx:responseError", fail);
document.addEventListener("htmx:sendError", fail);
