"""Guess of tokens: near what tokenizers count, in every script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.models.messages import estimate_input
from graphorch.models.token_estimate import estimate_tokens
from tests.models.fakes import request_to

# Texts with the tokens that o200k_base and cl100k_base count for them.
COUNTED = [
    ("The harbour master keeps a record of every vessel that enters or leaves.", 14, 14),
    ("Kapitan portu prowadzi rejestr wszystkich statków, które wpływają lub wypływają. Pływy "
     "syzygijne następują dwa dni po pełni księżyca.", 43, 51),
    ("Giám đốc cảng giữ một cuốn sổ ghi chép mọi con tàu ra vào. Triều cường đến sau trăng tròn "
     "hai ngày.", 35, 49),
    ("Начальник порта ведёт учёт всех судов, которые входят или выходят. Сизигийные приливы "
     "следуют за полнолунием через два дня.", 38, 55),
    ("Ο λιμενάρχης κρατά αρχείο κάθε πλοίου που μπαίνει ή βγαίνει από το λιμάνι κατά τη διάρκεια "
     "της ημέρας.", 35, 86),
    ("يحتفظ مدير الميناء بسجل لكل سفينة تدخل أو تغادر. تأتي المد العالي بعد يومين من اكتمال "
     "القمر.", 30, 64),
    ("बंदरगाह का प्रमुख हर आने-जाने वाले जहाज़ का लेखा-जोखा रखता है। पूर्णिमा के दो दिन बाद ज्वार "
     "आता है।", 35, 104),
    ("นายท่าเรือเก็บบันทึกเรือทุกลำที่เข้าหรือออกจากท่าเรือในแต่ละวัน", 29, 54),
    ("港务长记录每一艘进出港口的船只。满月后两天出现大潮，太阳横向牵引时潮水较弱。"
     "我们需要分析这些数据。", 43, 60),
    ("港長は入港または出港するすべての船の記録をつけています。"
     "満月の二日後に大潮が来ます。", 36, 47),
    ("항만장은 드나드는 모든 배의 기록을 보관합니다. 보름달 이틀 뒤에 한사리가 옵니다.", 28, 42),
]  # fmt: skip


@pytest.mark.parametrize(("text", "new", "old"), COUNTED, ids=[text[:12] for text, _, _ in COUNTED])
def test_estimate_lies_between_tokenizers(text: str, new: int, old: int) -> None:
    """The guess is at most a third off the range of two tokenizers of OpenAI."""
    assert new / 1.33 <= estimate_tokens(text) <= old * 1.33


@given(st.text(), st.text())
def test_estimate_adds_up(left: str, right: str) -> None:
    """The guess of two texts is that of both together, and no text has less than a quarter."""
    together = estimate_tokens(left + right)
    assert together == pytest.approx(estimate_tokens(left) + estimate_tokens(right))
    assert together >= len(left + right) / 4


def test_request_counts_all_texts() -> None:
    """The guess for a request counts its messages in their scripts."""
    assert estimate_input(request_to(text="月" * 300)) == 300
    assert estimate_input(request_to(text="x" * 300)) == 75
