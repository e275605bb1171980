// What Gradio leaves out for screen readers and keyboards. Run by each tab; the first one does it.
if (!window.atelierAccess) {
  const help = () => {
    for (const group of document.querySelectorAll("fieldset")) {
      const label = group.querySelector("[data-testid=block-info]");
      if (label && !group.ariaLabel) group.ariaLabel = label.textContent.trim();
      // Each radio button is a group of one, in which arrow keys lead nowhere.
      const radios = group.querySelectorAll("input[type=radio]");
      for (const radio of radios) {
        if (radio.name !== radios[0].name) radio.name = radios[0].name;
      }
    }
    // All uploads' buttons have the same names.
    for (const box of document.querySelectorAll(".upload")) {
      const label = box.querySelector("[data-testid=block-label]")?.textContent.trim();
      for (const button of label ? box.querySelectorAll("button[aria-label]") : []) {
        if (!button.ariaLabel.startsWith(label)) button.ariaLabel = `${label}: ${button.ariaLabel}`;
      }
    }
    for (const box of document.querySelectorAll(".compared")) {
      const [before, after] = box.querySelectorAll("img:not(button img)");
      if (after && !after.alt) {
        before.alt = "Bicubic interpolation";
        after.alt = "The network's result";
      }
    }
  };
  window.atelierAccess = new MutationObserver(help);
  window.atelierAccess.observe(document.body, { childList: true, subtree: true });
  document.addEventListener("focusin", help);
  help();
  // Sliders tell of a mouse that lets go, and not of a key.
  document.addEventListener("keyup", event => {
    const slides = event.target.matches?.("input[type=range], input[type=number]");
    if (slides && /^(Arrow|Page|Home|End|Enter)/.test(event.key)) {
      event.target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
    }
  });
}
