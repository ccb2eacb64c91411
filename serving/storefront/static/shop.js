// The pages work without this: a form that only moves the row is then answered by a whole page.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-swap]") || !window.fetch) return;
  event.preventDefault();
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const swap = () => {
      for (const id of ["for-you", "panel"]) {
        document.getElementById(id).replaceWith(page.getElementById(id));
      }
      document.getElementById("for-you-title").scrollIntoView({ block: "nearest" });
    };
    if (document.startViewTransition) document.startViewTransition(swap);
    else swap();
  } catch {
    form.submit();
  }
});
