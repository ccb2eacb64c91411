// Airflow shows these pages in a frame that may neither leave its place nor open a window: links that lead out of it
// are followed by the page around it. Where there is none, and without scripts, they are plain links.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-out]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const twin = window.parent.document.createElement("a");
  Object.assign(twin, { href: link.href, target: link.dataset.out, rel: "noopener" });
  twin.click();
});
