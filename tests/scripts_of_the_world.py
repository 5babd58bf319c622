"""Texts in ten scripts, made of a few words each, for tests of what people bring."""

from __future__ import annotations

import random

# Words that are written in the script of the language; in the last, symbols stand in for them.
WORDS = {
    "en": "the kettle near old harbour waits quietly for seven brave sailors and their lamp under grey morning skies",
    "de": "der alte Kessel am Hafen wartet leise auf sieben müde Matrosen mit ihrer Lampe unter dem Himmel über Köln",
    "ru": "старый чайник возле гавани тихо ждёт семь храбрых моряков и их лампу под серым утренним небом ещё раз",
    "ar": "الغلاية القديمة قرب الميناء تنتظر بهدوء سبعة بحارة شجعان مع مصباحهم تحت سماء الصباح الرمادية مرة أخرى",
    "he": "הקומקום הישן ליד הנמל מחכה בשקט לשבעה מלחים אמיצים עם המנורה שלהם תחת שמי הבוקר האפורים שוב",
    "hi": "पुरानी केतली बंदरगाह के पास सात बहादुर नाविकों और उनके दीपक का चुपचाप इंतज़ार करती है सुबह के धूसर आकाश तले",
    "th": "กาน้ำ เก่า ใกล้ ท่าเรือ รอ กะลาสี ผู้กล้า เจ็ด คน เงียบ ๆ พร้อม ตะเกียง ใต้ ท้องฟ้า ยามเช้า สีเทา",
    "zh": "旧 水壶 在 港口 旁边 静静 地 等待 七个 勇敢 的 水手 和 他们 的 灯 在 灰色 清晨 天空 下面",
    "ja": "古い やかん は 港 の そば で 七人 の 勇敢な 船乗り と ランプ を 静かに 待つ 灰色 の 朝 空 下",
    "ko": "오래된 주전자는 항구 옆에서 일곱 명의 용감한 선원과 그들의 등불을 조용히 기다린다 잿빛 아침 하늘 아래",
    "emoji": "🍎 🚀 🐳 🎲 🌋 🧲 🥁 🪁 🧭 🛶 🦔 🌵 🎻 🧵 🪐 🍄 🦉 🧊 🪵 🎈",
}  # fmt: skip
NAMES = {
    "en": ("Ann Lee", "Bob Stone"), "de": ("Jörg Weiß", "Änne Müller"), "ru": ("Иван Петров", "Анна Ёлкина"),
    "ar": ("محمد علي", "فاطمة حسن"), "he": ("דוד לוי", "רות כהן"), "hi": ("राम शर्मा", "सीता देवी"),
    "th": ("สมชาย", "ประเสริฐ"), "zh": ("周建国", "王秀英"), "ja": ("田中太郎", "鈴木花子"), "ko": ("강서연", "정민호"),
    "emoji": ("Zoë 🦊", "Max 🐙"),
}  # fmt: skip
UNSPACED = ("th", "zh", "ja")


def make_sentence(language: str, rng: random.Random, words: int = 14) -> str:
    """Return words in random order, so that no two sentences are alike, as the script writes them."""
    chosen = rng.choices(WORDS[language].split(), k=words)
    return ("" if language in UNSPACED else " ").join(chosen) + f" {rng.randrange(1000)}"


def make_labelled_rows(
    language: str, count: int = 60, labels: tuple[str, ...] = ("benign", "jailbreak")
) -> list[dict[str, object]]:
    """Return rows of texts with labels in turn."""
    rng = random.Random(language)
    return [{"text": make_sentence(language, rng), "label": ("benign", "jailbreak")[i % 2]} for i in range(count)]


def make_documents(language: str, count: int = 20) -> list[dict[str, object]]:
    """Return documents in each of which a name stands without a space at its ends where the script writes none."""
    rng = random.Random(language)
    gap = "" if language in (*UNSPACED, "ko") else " "
    rows = []
    for i in range(count):
        text = f"{make_sentence(language, rng)} {make_sentence(language, rng, 3)}{gap}"
        name = NAMES[language][i % 2]
        span = {"start": len(text), "end": len(text) + len(name), "label": "PERSON"}
        text += name + ("이고 " if language == "ko" else gap) + make_sentence(language, rng, 4)
        rows.append({"text": text, "spans": [span], "group": f"g{i}"})
    return rows
