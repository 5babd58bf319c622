// In which script and language a text is written: languages.py in JavaScript, with its tables.

import tables from "../../router_demo/languages.json" with { type: "json" };

const WORDS = Object.entries(tables.common).map(([language, words]) => [language, new Set(words.split(" "))]);
const SCRIPT_OF = { ...Object.fromEntries(Object.values(tables.codes)), Japanese: "Japanese Chinese" };
const NAMES = { Han: "Chinese", Hiragana: "Japanese", Katakana: "Japanese", Hangul: "Korean" };
const SCRIPTS = ("Latin Cyrillic Greek Arabic Hebrew Han Hiragana Katakana Hangul Devanagari Bengali Tamil Telugu Thai "
  + "Georgian Armenian Ethiopic Khmer Gujarati Gurmukhi Kannada Malayalam Oriya Sinhala Myanmar Lao Tibetan Mongolian "
  + "Cherokee Thaana Syriac").split(" ").map(name => [NAMES[name] ?? name, new RegExp(`\\p{sc=${name}}`, "u")]);
const INVISIBLE = /[\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Cc}\u115f\u1160\u3164\uffa0\u2800\u034f]/u;
const LOOKED_AT = 20_000; // characters

/** Return the names of languages by their codes. */
export function nameLanguages(codes) {
  return codes.filter(code => code !== "unknown").map(code => tables.codes[code]?.[0] ?? code);
}

/** Return the script that most letters belong to; null where a known language is written in it. */
export function findScript(text, known) {
  const counts = new Map();
  for (const char of [...text].slice(0, LOOKED_AT)) {
    if (!/\p{L}/u.test(char)) continue;
    const [first] = char.normalize("NFKC");
    const name = SCRIPTS.find(([, script]) => script.test(first))?.[0] ?? "Other";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const [script, count] = [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), ["", 0]);
  const own = known.map(name => SCRIPT_OF[name] ?? script).join(" ").split(" ");
  return count < 2 || own.includes(script) ? null : script;
}

/** Return the language that a text in Latin letters seems to be in; null for a known one. */
export function findLanguage(text, known) {
  const words = [...text].slice(0, LOOKED_AT).join("").toLowerCase().match(/\p{L}+/gu) ?? [];
  const counts = new Map(WORDS.map(([language, common]) => [language, words.filter(word => common.has(word)).length]));
  const [language, most] = [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best));
  const mostKnown = Math.max(0, ...known.map(name => counts.get(name) ?? most));
  return !known.includes(language) && most >= mostKnown + 2 ? language : null;
}

export const isInvisible = char => INVISIBLE.test(char) && !"\n\r\t".includes(char);
export const codePoint = char => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
