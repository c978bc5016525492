// What every page does: says that scripts run, so that what is alive takes the
// place of what stands still.
'use strict';
(() => {
  document.documentElement.classList.add('alive');
})();
