"""The signals of `prompt_injection`: what to look for, in the order of the code's first hit, and how much it means.

Patterns read folded text: lower case, no accents, no invisible characters. Every gap is bounded, so that matching stays
linear. A weight is how often such a text means it: over .6 a passage is dropped for this alone, over .5 a question is
refused; weaker signals need company.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signal:
    """A pattern with its weight; `words` are substrings of which every match contains at least one."""

    code: str
    weight: float
    words: tuple[str, ...]
    pattern: re.Pattern[str]


def _signal(code: str, weight: float, words: str, pattern: str) -> Signal:
    # In a pattern, a blank is any short stretch between words, `<n>` is up to n words, `^` the start of a line.
    pattern = re.sub(r" ?<(\d)> ", r"[\\W_]{1,6}(?:[\\w'’]{1,30}[\\W_]{1,6}){0,\1}", pattern)
    spelled = pattern.replace(" ", r"(?:[\W_]{1,6})")
    return Signal(code, weight, tuple(words.split("|")), re.compile(spelled, re.MULTILINE))


_AI = r"(?:ai|a\.i\.|llms?|(?:large |ai )?language models?|(?:ai )?assistants?|chat ?bots?|gpt|chatgpt|claude|copilot)"
_DROP = r"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|ing)|bypass(?:ing)?|neglect|discard|stop following|do not follow|don[’']?t follow|do not obey|pay no attention to)"
_TOLD = r"(?:instructions?|prompts?|directions?|directives?|guidelines?|guardrails?|commands?|safety (?:rules|policies|filters?|checks?)|programming|training)\b"
_BEFORE = r"(?:previous|previously|prior|above|earlier|preceding|foregoing|system|initial|original|your|developer[’']?s?|openai[’']?s?|former|existing|current)"

SIGNALS: tuple[Signal, ...] = (
    # Take back what the model was told.
    _signal("override", 0.9, "ignor|disregard|forget|overrid|bypass|neglect|discard|follow|obey|attention", rf"{_DROP} <3> {_BEFORE} <3> {_TOLD}"),
    _signal("override", 0.9, "ignor|disregard|forget|overrid|bypass|neglect|discard|follow|obey|attention", rf"{_DROP} <2> (?:all|any|every|everything|the|these|those) <3> {_TOLD} <3> (?:above|before|given|earlier|you|so far)\b"),
    _signal("override", 0.75, "ignor|disregard|forget|overrid|bypass", rf"{_DROP} (?:all|every|any)(?: of)?(?: the| your| those)? (?:rules|{_TOLD})"),
    _signal("override", 0.8, "forget|ignor|disregard", r"\b(?:forget|ignore|disregard) (?:about )?(?:all|everything|anything|whatever|what) (?:that )?(?:was |is |came |comes )?(?:above|before|you (?:were|was|have been|[’']?ve been|know|learned)|i (?:said|told)|written|said|prior)"),
    _signal("override", 0.8, "disregard|ignor", r"\b(?:disregard|ignore) (?:all |everything |the )?(?:above|previous|prior|foregoing)(?: text| context| content| conversation| messages?)?(?: and\b|[.,;:!]|$)"),
    _signal("new_instructions", 0.6, "new|updated|revised|override", r"(?:\b(?:your|here are (?:your|the)|these are your) (?:new|updated|revised|real|true|actual) (?:instructions|task|orders?|directives?|goal|objective|role)\b|^\W{0,4}(?:new|updated|revised) (?:instructions|system prompt|directive)\s{0,3}:|\bsystem (?:prompt )?override\b)"),
    # Make it say what it was told.
    _signal("reveal_prompt", 0.9, "your|initial|hidden|secret|system", r"\b(?:reveal|show|print|repeat|output|display|leak|disclose|dump|recite|expose|return|write out|tell me|give me|share|what (?:is|are|was|were)|copy|translate|summari[sz]e|encode) <4> your <2> (?:(?:system|initial|hidden|secret|original|internal|full|developer|pre) ?(?:prompts?|instructions?|messages?|directives?|guidelines|rules)|prompt|instructions)\b"),
    _signal("reveal_prompt", 0.8, "hidden|secret|system", r"\b(?:reveal|leak|disclose|dump|recite|expose|repeat|output|tell me|give me) <3> (?:system|hidden|secret|initial|developer) (?:prompts?|instructions?|messages?)\b"),
    _signal("reveal_prompt", 0.85, "repeat|print|output|copy", r"\b(?:repeat|print|output|copy|write|return) <3> (?:words|text|everything|sentences?|lines?|content|messages?) <2> (?:above|before this|preceding this|prior to this)\b"),
    # Markers that only a chat template writes. In back-ticks they are spoken about, not used.
    _signal("role_marker", 0.9, "<|", r"<\|{1,2}(?:im_start|start_header_id|start|system|developer|assistant|user|begin_of_text)\|{1,2}>\s{0,4}(?:system|user|assistant|developer|tool|[a-z]{2,})"),
    _signal("role_marker", 0.7, "<|", r"(?<!`)<\|(?:im_start|im_end|im_sep|system|user|assistant|developer|endoftext|eot_id|end|begin_of_text|start_header_id|end_header_id|channel|message)\|>(?!`)"),
    _signal("role_marker", 0.8, "[inst]|[/inst]|<<sys|<start_of_turn", r"(?<!`)(?:\[/?inst\]|<</?sys>>|<start_of_turn>(?:user|model|system))(?!`)"),
    _signal("role_marker", 0.7, "</system|<system|</instructions|</context|</document|</passage", r"(?<!`)</?(?:system|system[-_]?prompt|system[-_]?message|instructions|admin)>(?!`)\s{0,4}\w"),
    _signal("role_line", 0.4, "system|assistant|human|developer|admin", r"^\W{0,8}(?:system|system (?:message|prompt|note|instructions?)|assistant|human|developer (?:message|note)|admin(?:istrator)? (?:note|message|override))\W{0,3}:"),
    # Be someone without rules.
    _signal("persona", 0.9, "dan|jailb|unrestrict|uncensor|unfilter|no longer|evil|free|godmode|root", r"\b(?:you are now|you[’']re now|act as|pretend (?:to be|you are|that you are)|behave as|roleplay as|simulate) (?:an? |the |in )?<2> (?:dan|jailbroken|unrestricted|uncensored|unfiltered|amoral|evil|no longer (?:bound|an? ai|restricted|required)|free (?:of|from)|godmode|root mode)\b"),
    _signal("persona", 0.55, "you are now|you're now|you’re now", r"\byou(?: are|[’']re) now (?:an? |the )[a-z]{3,}"),
    _signal("persona", 0.45, "from now on|pretend|henceforth", r"\b(?:from now on|henceforth),? (?:you|always|only|never|every)\b|\bpretend (?:to be|that you|you are|you have)\b"),
    _signal("jailbreak", 0.85, "do anything now|jailbreak|dan mode|god mode|developer mode|sudo mode", r"\b(?:you can do anything now|(?:enter|enable|activate|switch to|in) (?:dan|god|jailbreak|sudo|unrestricted) mode|(?:jailbreak|jailbroken) (?:prompt|mode) (?:on|enabled|activated)|(?:you are|stay) in developer mode)\b"),
    _signal("no_limits", 0.45, "without|no |ignor|bypass", r"\b(?:without|with no|no|ignore|ignoring|bypass|free of|has no|have no) (?:any |all |your |ethical |moral |content |safety )*(?:restrictions|censorship|safety (?:filters?|guidelines|checks)|content (?:filters?|policy|policies)|ethical guidelines|guardrails)\b"),
    # Carry something out.
    _signal("exfiltration", 0.9, "](", r"!\[[^\]\n]{0,200}\]\(\s{0,4}https?://[^)\s]{0,300}(?:\{|%7b|\$\(|\[|<|(?:data|secret|prompt|context|history|conversation|token|password|leak|exfil)=)"),
    _signal("exfiltration", 0.85, "http|@|webhook|server|url|address", r"\b(?:send|post|forward|upload|exfiltrate|transmit|leak|append|e-?mail|submit|encode) <5> (?:conversations?|chat (?:history|log)|messages above|secrets?|passwords?|api keys?|credentials|system prompt|user(?:[’']s)? (?:data|question|input|messages?|details)|everything above|(?:the|this|your) (?:context|prompt|answer)|private data) <6> (?:to|into|at|in) <3> (?:https?://|[\w.+-]{1,40}@[\w-]{1,40}\.|(?:this|the following|my) (?:webhook|url|server|address)\b)"),
    # Speak to the machine that reads.
    _signal("addresses_model", 0.6, "ai|llm|model|assistant|bot|gpt|claude", rf"\b(?:attention|notice|note|message|important|instructions?|warning|hint|memo|reminder) (?:to|for)(?: the| all| any| every| our| an)? {_AI}(?: \w{{1,20}})?\b\s{{0,3}}(?::|-|–|—|\.|!|,)"),
    _signal("addresses_model", 0.6, "if you are|if you're|if you’re", rf"\bif you(?: are|[’']re)(?: an?| the)? {_AI}\b(?! (?:user|developer|engineer|researcher|provider|vendor|company))"),
    _signal("addresses_model", 0.6, "assistant|ai |model|llm|bot", rf"\b(?:the |every |any |all )?{_AI} (?:reading|processing|summari[sz]ing|that reads?|who reads?|seeing|parsing) (?:this|the|these)\b"),
    _signal("dictates_answer", 0.6, "answer|reply|respond|say|output|state|tell|write", r"\b(?:when(?:ever)?|if|should) (?:you (?:are |were )?|someone |anyone |the user |a user |users? |anybody |they )?(?:is |are |be )?(?:ask(?:s|ed)?|answer(?:s|ing)?|summari[sz](?:e|ing)|respond(?:ing)?|prompted|questioned|queried|reply(?:ing)?)\b.{0,80}?\b(?:always|instead|only|you must|you should) (?:answer|reply|respond|say|state|output|tell|write|claim|print)"),
    _signal("dictates_answer", 0.6, "answer|reply|respond|say|output|print|write", r"(?:^|[.!?:;] )\W{0,4}(?:instead,? |please |you must |you should |you will |just |now |simply |and )?(?:answer|reply|respond|say|output|print|write) (?:only |just |always |every question |to (?:every|all|any) questions? |exactly )+(?:with |by |as )?(?:the (?:word|phrase|text|following|sentence) )?[\"“'‘«]"),
    _signal("dictates_answer", 0.4, "answer|reply|respond|speak|talk|write", r"\b(?:answer|reply|respond|speak|talk|write) (?:only|always|exclusively) (?:in|like|as)\b"),
    _signal("dictates_answer", 0.45, "do not|don't|never|without", r"\b(?:do not|don[’']t|never|without) (?:mention(?:ing)?|tell(?:ing)?|reveal(?:ing)?|disclos(?:e|ing)|inform(?:ing)?|alert(?:ing)?|warn(?:ing)?) (?:this|these|it|the user|any of this|users?|anyone)\b"),
    # The same in other languages.
    _signal("override", 0.9, "ignorier|vergiss|missachte|vergesse", r"\b(?:ignoriere?n?(?: sie)?|vergiss|vergessen sie|missachte[nt]?(?: sie)?) <2> (?:vorherigen|bisherigen|obigen|fruheren|vorigen|vorangegangenen|vorstehenden|deine|ihre|alle) <2> (?:anweisungen|instruktionen|befehle|vorgaben|regeln|prompts?)\b"),
    _signal("reveal_prompt", 0.9, "systemprompt|system-prompt|systemanweisung|deine anweisungen|deine instruktionen", r"\b(?:zeige?|verrate|nenne|gib|wiederhole|drucke|offenbare) <4> (?:deinen?|ihren?|den|die) <1> (?:system ?prompt|systemanweisung(?:en)?|anweisungen|instruktionen)\b"),
    _signal("override", 0.9, "ignor|oubli", r"\b(?:ignore[zr]?|oublie[zr]?) <2> (?:instructions?|consignes|directives|regles|ordres) <2> (?:precedent|anterieur|ci dessus|prealable|au dessus|initial)"),
    _signal("override", 0.9, "ignor|olvid|desatiend", r"\b(?:ignora|ignore|ignorad|ignoren|olvida|olvide|olvidad|desatiende) <2> (?:instrucciones|ordenes|reglas|indicaciones|directrices) (?:anteriores|previas|de arriba|precedentes|iniciales)"),
    _signal("override", 0.9, "ignor|dimentic|esquec|desconsider", r"\b(?:ignora|ignorare|ignorate|dimentica|dimenticate|ignore|esqueca|desconsidere) <3> (?:istruzioni|indicazioni|regole|instrucoes|ordens|regras|orientacoes) (?:precedenti|anteriori|di cui sopra|iniziali|anteriores|previas|acima|iniciais)"),
    _signal("override", 0.9, "negeer|vergeet|zignoruj|ignoruj|zapomnij", r"\b(?:negeer|vergeet|zignoruj|ignoruj|zapomnij) <2> (?:vorige|voorgaande|eerdere|bovenstaande|poprzednie|wczesniejsze|powyzsze|poprzednich) <1> (?:instructies|opdrachten|regels|instrukcje|polecenia|instrukcjach)"),
    _signal("reveal_prompt", 0.9, "prompt|systeme|sistema", r"\b(?:montre|revele|affiche|repete|donne|muestra|revela|ensena|repite|dime|mostra|mostre|revele|rivela)\w{0,4} <3> (?:prompt|invite|instructions|instrucciones|istruzioni|instrucoes|mensaje) (?:systeme|(?:de |del |di |do )?sistema)"),
    _signal("override", 0.9, "игнорир|забудь|проигнорир", r"\b(?:про)?(?:игнорируи(?:те)?|забудь(?:те)?) <2> (?:предыдущие|прошлые|прежние|вышеуказанные|предшествующие|свои) <1> (?:инструкции|указания|команды|правила)"),
    _signal("reveal_prompt", 0.9, "системн", r"\b(?:покажи|раскрои|выведи|повтори|назови)(?:те)? <3> системн\w{1,3} (?:промпт|подсказк|инструкци|сообщени)"),
    _signal("override", 0.9, "忽略|無視|无视|忘记|忘記|忽視|不要理会", r"(?:忽略|无视|無視|忘记|忘記|忽視|不要理会).{0,8}(?:之前|以前|上面|以上|先前|前面|所有|上述|此前).{0,6}(?:指令|指示|说明|說明|提示|命令|规则|規則)"),
    _signal("reveal_prompt", 0.9, "系统提示|系統提示|システムプロンプト|시스템 프롬프트", r"(?:(?:显示|顯示|告诉|告訴|输出|輸出|透露|重复|重複|泄露|公开).{0,10}(?:系统|系統)提示|システムプロンプト.{0,6}(?:表示|教え|出力|見せ|公開)|시스템 프롬프트.{0,6}(?:보여|출력|알려|공개))"),
    _signal("override", 0.9, "指示|命令|指令", r"(?:以前|これまて|これまで|前|上記|先|すへて|すべて)(?:の|まての|までの)?.{0,6}(?:指示|命令|指令).{0,6}(?:無視|忘れ|従わな)"),
    _signal("override", 0.9, "무시|잊어", r"(?:이전|앞|위|지금까지|모든).{0,8}(?:지시|명령|지침|프롬프트).{0,6}(?:무시|잊어)"),
    _signal("override", 0.9, "تجاهل|انس", r"(?:تجاهل|انس|انسي)\W{1,3}(?:\w{1,12}\W{1,3}){0,2}(?:التعليمات|الاوامر|الأوامر|تعليمات|الإرشادات)\W{1,3}(?:السابقة|السابق|أعلاه|اعلاه)"),
    _signal("override", 0.9, "अनदेख|नजरअंदाज|नज़रअंदाज|भूल", r"(?:पिछल|पूर्व|उपरोक्त|सभी|पहले).{0,14}(?:निर्देश|आदेश|नियम).{0,14}(?:अनदेख|नजरअंदाज|नज़रअंदाज|भूल)"),
    _signal("override", 0.9, "talimat|komut|yonerge", r"\b(?:onceki|yukaridaki|tum) <1> (?:talimat|komut|yonerge|kural)\w{0,8} <2> (?:yok say|gormezden gel|unut|dikkate alma)"),
)  # fmt: skip
