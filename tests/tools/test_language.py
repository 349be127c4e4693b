"""What programs say in another language: sentences with any numbers, and outputs."""

import pytest

from rwkv_book import exercises, language, show
from rwkv_book.language import catalogue, outputs

KNOWN = catalogue.Catalogue(
    {
        "all 41 letters: 0.000 percent": "41 个字母，0.000%",
        "After 2 rounds: up to 4 tokens": "最多 4 个 token，在 2 轮之后",
        "the model bets on {letter}": "模型押 {letter}",
        "a bonus": "加成",
        "step": "步",
    }
)


@pytest.fixture
def chinese():
    language.use("zh_CN")
    yield
    language.use()


def test_a_sentence_is_found_whatever_its_numbers():
    assert KNOWN.say("all 7 letters: 1.250 percent") == "7 个字母，1.250%"
    assert (
        KNOWN.say("After 8 rounds: up to 256 tokens")
        == "最多 256 个 token，在 8 轮之后"
    )
    assert KNOWN.say("nobody knows 7 letters") == "nobody knows 7 letters"


def test_a_field_takes_any_words_and_they_are_translated_too():
    assert KNOWN.say("the model bets on g") == "模型押 g"
    assert KNOWN.say("the model bets on a bonus") == "模型押 加成"


def test_columns_stay_lined_up():
    assert KNOWN.say("  step") == "  步"
    aligned = catalogue.Catalogue({"fresh: 0.7 13.9": "未训练：0.7 13.9"})
    assert aligned.say("fresh:   0.7  13.9") == "未训练：  0.7  13.9"


def test_a_catalogue_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "a.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Language: de\\n"\n\n# kept: a name\nmsgid "RWKV"\n'
        'msgstr "RWKV"\n\n#, fuzzy\nmsgid ""\n"one \\"two\\" "\n"three"\n'
        'msgstr "drei"\n\n'
        '#~ msgid "gone"\n#~ msgstr "weg"\n'
    )
    name, other = catalogue.read(path)
    assert (name.english, name.note, name.fuzzy) == ("RWKV", "kept: a name", False)
    assert (other.english, other.fuzzy) == ('one "two" three', True)
    assert catalogue.Catalogue.of([path]).find('one "two" three') is None


def test_code_formulas_and_names_are_never_asked_about():
    asked = []

    def note(text):
        asked.append(text)
        return text

    outputs.table("| `step` | $T^2$ | 12 | a step |\n| --- | --- | --- | --- |", note)
    assert asked == ["a step"]
    assert (
        outputs.table("```python\na step\n```", KNOWN.say) == "```python\na step\n```"
    )
    assert outputs.html("<pre>step</pre><b>step</b>", KNOWN.say) == (
        "<pre>step</pre><b>步</b>"
    )


def test_lines_of_one_text_are_one_sentence():
    said = catalogue.Catalogue({"a title in two lines": "一个分成两行的标题"}).say
    svg = '<g><text x="1">a title in</text>\n<text x="1">two lines</text></g>'
    shown = outputs.html(svg, said)
    assert outputs.LINE.findall(shown)[0][1] + outputs.LINE.findall(shown)[1][1] == (
        "一个分成两行的标题"
    )


def test_a_check_answers_in_chinese(chinese, capsys):
    exercises.check("04.1", 16)
    exercises.check("04.1", 7)
    exercises.check("04.3", lambda *_: None)
    said = capsys.readouterr().out
    assert "04.1：还不对。16 是第三个输出的分子" in said
    assert "04.1：对了。先是 4，然后 10，然后 7" in said
    assert "04.3：还不对。函数什么也没有返回：请返回平均值。" in said
    assert not any(word in said for word in ("Right", "Not yet", "return"))


def test_a_figure_is_drawn_in_chinese(chinese):
    figure = show.Figure("Each step halves what is stored", "step 1", x="token")
    html = figure._repr_mimebundle_()["text/html"]
    assert "每一步把存着的减半" in html and 'aria-label="第 1 步"' in html


def test_without_a_language_nothing_changes(capsys):
    exercises.check("04.1", 7)
    assert "Right. 4, then 10" in capsys.readouterr().out
    with pytest.raises(ValueError, match="there are no words in 'xx'; there are: en"):
        language.use("xx")
