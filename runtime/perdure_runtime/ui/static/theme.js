// Before anything is drawn: the theme that was chosen here, if one was.
(function () {
  "use strict";
  try {
    var chosen = localStorage.getItem("perdure-theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
  } catch (error) {
    // No storage: the system's theme it is.
  }
})();
