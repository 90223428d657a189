// A box in a table's head that ticks all boxes of that name below it.
for (const all of document.querySelectorAll("[data-all]")) {
    all.addEventListener("change", () => {
        for (const box of document.getElementsByName(all.dataset.all)) box.checked = all.checked;
    });
}
