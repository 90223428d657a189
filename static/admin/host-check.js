// After "test the connection": wait until a worker has written down what the host said, then show it.
const PATIENCE = 30_000; // milliseconds

async function follow(note) {
    const began = Date.now();
    while (Date.now() - began < PATIENCE) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const answer = await fetch(`${note.dataset.news}?since=${encodeURIComponent(note.dataset.since)}`);
        if (answer.ok && (await answer.json()).answered) {
            location.replace(location.pathname);
            return;
        }
    }
    note.textContent = note.dataset.late;
}

document.addEventListener("DOMContentLoaded", () => {
    const note = document.getElementById("host-check");
    if (note) follow(note);
});
