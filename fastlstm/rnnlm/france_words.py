"""What `france` is said in: English, or Chinese words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Skin:
    """The words of `france` in one language.

    languages: of each country. nouns: those of each half of the adjectives, in turn: a short-range
    dependency that a bigram can learn. All skins have as many of each.
    """

    grew_up: tuple[str, ...]
    speak: tuple[str, ...]
    stop: tuple[str, ...]
    languages: dict[str, str]
    subjects: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[tuple[str, ...], tuple[str, ...]]


ENGLISH = Skin(
    grew_up=("I", "grew", "up", "in"),
    speak=("I", "speak", "fluent"),
    stop=(".",),
    languages={
        "France": "French",
        "Germany": "German",
        "Spain": "Spanish",
        "China": "Chinese",
        "Japan": "Japanese",
        "Russia": "Russian",
        "Italy": "Italian",
        "Poland": "Polish",
        "Turkey": "Turkish",
        "Greece": "Greek",
        "Sweden": "Swedish",
        "Norway": "Norwegian",
        "Finland": "Finnish",
        "Hungary": "Hungarian",
        "Portugal": "Portuguese",
        "Thailand": "Thai",
        "Denmark": "Danish",
        "Romania": "Romanian",
        "Bulgaria": "Bulgarian",
        "Ukraine": "Ukrainian",
        "Korea": "Korean",
        "Vietnam": "Vietnamese",
        "India": "Hindi",
        "Iran": "Persian",
        "Israel": "Hebrew",
        "Iceland": "Icelandic",
        "Estonia": "Estonian",
        "Latvia": "Latvian",
        "Lithuania": "Lithuanian",
        "Mongolia": "Mongolian",
        "Netherlands": "Dutch",
        "Czechia": "Czech",
    },
    subjects=("she", "he", "we", "they", "everyone", "nobody"),
    verbs=("ate", "saw", "bought", "painted", "forgot", "remembered", "sold", "carried"),
    adjectives=("red", "old", "tiny", "loud", "warm", "green"),
    nouns=(("cheese", "house", "bread", "letter"), ("river", "guitar", "garden", "coat")),
)
CHINESE = Skin(
    grew_up=("我", "长大", "在"),
    speak=("我", "会", "说", "流利", "的"),
    stop=("。",),
    languages={
        "法国": "法语",
        "德国": "德语",
        "西班牙": "西班牙语",
        "中国": "汉语",
        "日本": "日语",
        "俄罗斯": "俄语",
        "意大利": "意大利语",
        "波兰": "波兰语",
        "土耳其": "土耳其语",
        "希腊": "希腊语",
        "瑞典": "瑞典语",
        "挪威": "挪威语",
        "芬兰": "芬兰语",
        "匈牙利": "匈牙利语",
        "葡萄牙": "葡萄牙语",
        "泰国": "泰语",
        "丹麦": "丹麦语",
        "罗马尼亚": "罗马尼亚语",
        "保加利亚": "保加利亚语",
        "乌克兰": "乌克兰语",
        "韩国": "韩语",
        "越南": "越南语",
        "印度": "印地语",
        "伊朗": "波斯语",
        "以色列": "希伯来语",
        "冰岛": "冰岛语",
        "爱沙尼亚": "爱沙尼亚语",
        "拉脱维亚": "拉脱维亚语",
        "立陶宛": "立陶宛语",
        "蒙古": "蒙古语",
        "荷兰": "荷兰语",
        "捷克": "捷克语",
    },
    subjects=("她", "他", "我们", "他们", "大家", "小王"),
    verbs=("吃了", "看见了", "买了", "画了", "忘了", "记得", "卖了", "带走了"),
    adjectives=("红", "旧", "小", "吵闹的", "温暖的", "绿"),
    nouns=(("奶酪", "房子", "面包", "信"), ("河流", "吉他", "花园", "外套")),
)
SKINS = {"english": ENGLISH, "chinese": CHINESE}
COUNTRIES_MOST = len(ENGLISH.languages)
