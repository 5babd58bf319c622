// What the page does without asking the server: the state of the answer, keys, copies, links, files.
// It stands in the head, so that it is there before gradio's page is: nothing is looked up before it is needed.
(() => {
  const box = () => document.querySelector("#prompt textarea");
  const state = name => document.body.classList.contains(name);
  const set = (name, on) => document.body.classList.toggle(name, on);
  let asked = null, pressed = null;

  const judge = () => {
    const shown = document.querySelector("#answer .result");
    set("stale", !!shown && !state("asking") && asked !== null && box().value !== asked);
  };
  window.routerDemo = {
    asked: text => { asked = text ?? ""; set("stale", false); set("asking", true); },
    done: () => { set("asking", false); judge(); return free("ask"); },
    batch: on => { set("asking-all", on); return !on && free("ask-all"); },
  };
  // Until the server has heard of a cancel, gradio loses a further question: its button waits for that.
  document.addEventListener("click", event => {
    const cancel = event.target.closest("#cancel, #cancel-all");
    if (cancel) document.getElementById(cancel.id.replace("cancel", "ask")).disabled = true;
  }, true);
  // Let the button be clicked again; says whether it waited, which is whether something was cancelled.
  const free = id => {
    const button = document.getElementById(id), waited = button.disabled;
    button.disabled = false;
    return waited;
  };
  document.addEventListener("input", event => { if (event.target === box()) judge(); });

  document.addEventListener("keydown", event => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const area = event.target.closest("#prompt, #lines");
    if (!area) return;
    event.preventDefault();
    pressed = area.id === "prompt" ? "ask" : "ask-all";
    press();
  });
  // The box is there before its button is drawn and has its words: a key that is quicker than that waits for it.
  const press = () => {
    const button = pressed && document.getElementById(pressed);
    if (!button?.textContent.trim()) return;
    pressed = null;
    button.click();
  };

  const tell = (button, words) => {
    const before = button.textContent;
    button.textContent = words;
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  const copy = async text => {
    try { await navigator.clipboard.writeText(text); } catch {
      // Without https a page has no clipboard; the selection of a field is copied there.
      const field = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
  };
  document.addEventListener("click", async event => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.copy) {
      const holder = button.closest(".pane, details, .snippets");
      await copy(holder.querySelector(button.dataset.copy).textContent);
      tell(button, "Copied");
    } else if (button.dataset.download) {
      const rows = document.querySelector("#csv textarea").value;
      const link = Object.assign(document.createElement("a"), {
        href: URL.createObjectURL(new Blob(["\ufeff", rows], { type: "text/csv" })), download: button.dataset.download });
      link.click();
      URL.revokeObjectURL(link.href);
    }
  });

  // A file is read here and put into the box: it is never uploaded as a file.
  document.addEventListener("change", async event => {
    if (event.target.id !== "csv-file" || !event.target.files.length) return;
    const lines = document.querySelector("#lines textarea");
    lines.value = await event.target.files[0].text();
    lines.dispatchEvent(new Event("input", { bubbles: true }));
  });

  const fill = () => {
    // Read aloud when it changes.
    document.querySelectorAll("#status, #batch-status").forEach(node => { if (!node.role) node.role = "status"; });
    document.querySelectorAll("[data-origin]").forEach(node => {
      const here = location.origin + location.pathname.replace(/\/$/, "");
      if (node.textContent.includes(node.dataset.origin) && here !== node.dataset.origin)
        node.textContent = node.textContent.replaceAll(node.dataset.origin, here);
    });
  };
  new MutationObserver(() => { press(); fill(); }).observe(document.documentElement, { childList: true, subtree: true });
})();
