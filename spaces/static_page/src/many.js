// The tab of many prompts: asked one after the other, at the thresholds of the first tab.

import { asCsv, asTable, cells, MOST, readPrompts } from "./batch.js";
import { line } from "./parts.js";
import { decide, MOST_CHARS, readable } from "./policy.js";
import { grouped, say } from "./texts.js";

const $ = selector => document.querySelector(selector);

/** Make the tab work. `limits` gives the thresholds. Returns what is told how far the models are loaded, in words. */
export function setUpBatch(tasks, models, limits) {
  let stop = null, isWaiting = false;

  const tell = (words, tone) => { $("#batch-status").innerHTML = line(words, tone); };
  function end(words, tone, table = "", csv = "") {
    stop = null;
    $("#batch-answer").innerHTML = table;
    $("#csv textarea").value = csv;
    window.routerDemo.batch(false);
    tell(words, tone);
  }

  async function askAll() {
    stop?.abort();
    const prompts = readPrompts($("#lines textarea").value), of = grouped(prompts.length), most = 5 * MOST_CHARS;
    if (!prompts.length) { end(say("empty_batch"), "warn"); return; }
    if (prompts.length > MOST || prompts.reduce((sum, prompt) => sum + [...prompt].length, 0) > most) {
      end(say("batch_cap", { found: of, limit: MOST, chars: grouped(most) }), "bad");
      return;
    }
    const { signal } = stop = new AbortController(), at = limits(), decisions = [];
    const tellDone = () => tell(say("batch_answered", { done: grouped(decisions.length), of }));
    window.routerDemo.batch(true);
    isWaiting = true;
    tellDone();
    try {
      for (const prompt of prompts) {
        const { reads } = await models.read(readable(prompt), signal);
        isWaiting = false;
        decisions.push(decide(tasks, prompt, reads, at));
        tellDone();
      }
      const rows = decisions.map((decision, place) => cells(tasks, prompts[place], decision));
      end(say("batch_answered", { done: of, of }), "", asTable(prompts, decisions), asCsv(tasks, rows));
    } catch (error) {
      if (!signal.aborted) end(say("failed_here", { words: error.message }), "bad");
    }
  }

  $("#batch-about").textContent = `${say("batch_about", { limit: MOST })} ${say("batch_kept_here")}`;
  $("#ask-all").addEventListener("click", askAll);
  $("#cancel-all").addEventListener("click", () => {
    stop?.abort();
    end(say("cancelled_here"));
  });
  return words => { if (stop && isWaiting) tell(words); };
}
