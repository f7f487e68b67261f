"""The words of the tiny world in Chinese."""

PEOPLE = {
    "Amara": "阿玛拉", "Kenji": "健二", "Lucia": "露西娅", "Omar": "奥马尔", "Ingrid": "英格丽",
    "Mateo": "马特奥", "Priya": "普丽娅", "Tomas": "托马斯", "Mei": "小梅", "Kofi": "科菲",
    "Leila": "莱拉", "Arjun": "阿俊", "Freya": "弗蕾娅", "Diego": "迭戈", "Yuki": "由纪",
    "Malik": "马利克", "Nadia": "娜迪娅", "Pavel": "帕维尔", "Aroha": "阿罗哈", "Elias": "埃利亚",
}  # fmt: skip

# Place → the word, and what follows it to say in, at, on or by it.
PLACES = {
    "garden": ("花园", "里"), "kitchen": ("厨房", "里"), "library": ("图书馆", "里"),
    "market": ("市场", "上"), "river": ("河", "边"), "harbour": ("港口", ""),
    "forest": ("森林", "里"), "hill": ("山", "上"), "bridge": ("桥", "上"),
    "station": ("车站", ""), "bakery": ("面包店", "里"), "island": ("岛", "上"),
}  # fmt: skip

# Thing → its measure word, and the word. A number never stands directly before a noun.
THINGS = {
    "kite": ("只", "风筝"), "lamp": ("盏", "灯"), "book": ("本", "书"), "drum": ("面", "鼓"),
    "apple": ("个", "苹果"), "map": ("张", "地图"), "key": ("把", "钥匙"),
    "basket": ("个", "篮子"), "ball": ("个", "球"), "letter": ("封", "信"),
    "flute": ("支", "笛子"), "clock": ("座", "钟"), "bell": ("口", "铃"), "ring": ("枚", "戒指"),
}  # fmt: skip

COLOURS = {
    "red": "红色的", "blue": "蓝色的", "green": "绿色的", "yellow": "黄色的", "white": "白色的",
    "black": "黑色的", "silver": "银色的", "brown": "棕色的",
}  # fmt: skip

# Before a measure word "two" is 两, not 二.
NUMBERS = {"two": "两", "three": "三", "four": "四", "five": "五"}
DETERMINERS = {"a": "一", "this": "这", "that": "那"}
TIMES = {
    "yesterday": "昨天", "this morning": "今天早上", "last night": "昨晚", "on Monday": "星期一",
    "last week": "上周",
}  # fmt: skip

# Past, base form → Chinese without and with the sign of what is over.
VERBS = {
    ("took", "take"): ("拿走", "拿走了"),
    ("found", "find"): ("找到", "找到了"),
    ("saw", "see"): ("看见", "看见了"),
    ("lost", "lose"): ("弄丢", "弄丢了"),
    ("bought", "buy"): ("买", "买了"),
    ("drew", "draw"): ("画", "画了"),
}
