// The form for a new machine: search, summary, window size, keyboard and name suggested.

const form = document.getElementById("wish");
const name = document.getElementById("id_name");
const search = document.getElementById("search");

// Searching among the experiments
search?.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const choice of document.querySelectorAll("#choices .choice")) {
        const text = choice.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word)) || choice.querySelector("input").checked;
        choice.hidden = !fits;
        found += fits;
    }
    const note = document.getElementById("none-found");
    note.textContent = found ? "" : note.dataset.text;
});
search?.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());

// The size of this window
const limits = (side) => Math.min(Math.max(Math.round(side), 320), 8192);
const tellWindow = () => {
    const [width, height] = [limits(window.innerWidth), limits(window.innerHeight)];
    form.elements.window_width.value = width;
    form.elements.window_height.value = height;
    document.getElementById("window-size").textContent = `${width} × ${height}`;
};
tellWindow();
window.addEventListener("resize", tellWindow);

// Own width and height are asked for only when wanted
const own = form.querySelector(".own-size");
const showOwn = () => (own.hidden = form.elements.screen.value !== "own");

// The keyboard, guessed from the languages of the browser when nothing is remembered
const LAYOUTS = { "en-GB": "gb", "fr-BE": "be", "fr-CA": "ca", "fr-CH": "ch(fr)", "de-CH": "ch", "pt-BR": "br", "es-MX": "latam", "es-AR": "latam", "es-CL": "latam", "es-CO": "latam", en: "us", fr: "fr", de: "de", es: "es", it: "it", pt: "pt", sv: "se", da: "dk", nb: "no", no: "no", fi: "fi", nl: "nl", pl: "pl", cs: "cz", hu: "hu", el: "gr", ru: "ru", uk: "ua", tr: "tr", he: "il", ja: "jp" };
if ("guess" in form.elements.keyboard.dataset) {
    const language = navigator.language;
    form.elements.keyboard.value = LAYOUTS[language] ?? LAYOUTS[language.split("-")[0]] ?? "us";
}

// The name follows the experiment until somebody types one
let typed = name.value !== "" && !("suggested" in name.dataset);
name.addEventListener("input", () => (typed = name.value !== ""));
const suggest = () => {
    const first = form.querySelector("[name=experiments]:checked");
    if (!typed && first) name.value = first.dataset.suggestion;
};

// The summary
const summarise = () => {
    for (const place of document.querySelectorAll("#summary [data-of]")) {
        const chosen = [...form.querySelectorAll(`[name="${place.dataset.of}"]:checked`)].map((one) => one.dataset.name);
        place.textContent = chosen.length ? chosen.join(", ") : place.dataset.none;
    }
    showOwn();
};
form.addEventListener("change", (event) => {
    if (event.target.name === "experiments") suggest();
    summarise();
});
document.addEventListener("htmx:afterSettle", summarise);
summarise();

// One press is enough
form.addEventListener("submit", () => {
    tellWindow();
    setTimeout(() => (document.getElementById("create").disabled = true));
});
window.addEventListener("pageshow", () => (document.getElementById("create").disabled = false));

document.querySelector(".errors, .notice.bad")?.scrollIntoView({ block: "center" });
