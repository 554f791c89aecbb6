"""Shrunk action lists that failed once, each with what was wrong then. None of them may fail again."""

from __future__ import annotations

from tests.model.machine import Action

CASES: dict[str, list[Action]] = {
    "a writer that truncates and writes on behind a member that a kill cut short is no damage of the part": [
        ("meanwhile", 267176), ("spill", 638796), ("reopen", 119260), ("truncate", 65702), ("write", 803380),
    ],
    "a file that was emptied unseen and then rested never came due by age": [
        ("write", 922800), ("crash", 885825), ("reopen", 353792), ("write", 406776),
    ],
    "a part whose removal failed blocked its stream": [("write", 913114), ("fault", 375424)],
    "NULs before a writer's kept offset were counted as loss": [
        ("half", 94044), ("reopen", 711580), ("step", 753929), ("truncate", 233558), ("half", 220080),
    ],
    "NULs before a kept offset were counted again when the file was emptied again": [
        ("reopen", 540301), ("write", 972611), ("crash", 678897), ("truncate", 632259), ("write", 36220),
        ("step", 38643), ("reopen", 977300),
    ],
    "a file that left while no agent ran was never finished": [
        ("write", 894629), ("step", 520203), ("rename", 557656), ("reboot", 541685), ("half", 315107), ("step", 97690),
    ],
    "a loss was counted again after a kill between its entry and its hint": [
        ("write", 106992), ("step", 241715), ("rename", 853407), ("write", 315576), ("step", 56778),
        ("reopen", 168887), ("step", 39773), ("crash", 150052),
    ],
    "a record that was only begun was cut when its file was renamed": [
        ("write", 230179), ("step", 730905), ("half", 928788), ("rename", 268988), ("look", 91163),
    ],
    "a stream was forgotten while its renamed file was unsealed": [
        ("write", 603361), ("look", 768400), ("rename", 843296), ("fault", 255921), ("retain", 780184),
        ("crash", 735694),
    ],
    "a renamed file that held NULs was left before their grace ended": [
        ("reopen", 184061), ("half", 762542), ("truncate", 648322), ("write", 398093), ("step", 854947),
        ("rename", 299353),
    ],
    "a gap within a life made its sealed bytes unknown after a restart": [
        ("reopen", 639155), ("write", 656354), ("half", 896452), ("step", 860001), ("truncate", 684545),
        ("reboot", 851528), ("write", 751449), ("link", 318785), ("release", 581848),
    ],
    "a renamed file that was emptied ended the step": [
        ("write", 294881), ("step", 832002), ("truncate", 381561), ("rename", 52220), ("reopen", 929544),
        ("seal", 651994),
    ],
    "a hard link to a file that retention had to sync ended the step": [
        ("write", 560573), ("step", 487606), ("crash", 179548), ("link", 334751), ("crash", 412287), ("jump", 567925),
        ("step", 234158),
    ],
    "a hard link to the file that took a renamed one's place ended the step": [
        ("write", 320376), ("step", 702040), ("rename", 653466), ("reopen", 805138), ("look", 994267),
        ("link", 997263), ("seal", 328103),
    ],
    "an empty part of a file that was renamed away stood in the way": [
        ("write", 921029), ("look", 351893), ("rename", 205268), ("crash", 74538),
    ],
    "a sparse file that was not due by size was never due by age": [
        ("reopen", 265606), ("write", 156117), ("write", 333785), ("truncate", 63947), ("write", 826582),
        ("step", 175036),
    ],
    "a life that had ended was taken up again after a restart, and sealed twice": [
        ("write", 968057), ("crash", 243078), ("step", 794779), ("rename", 875936), ("write", 122169),
        ("look", 439379), ("crash", 144929), ("write", 690956), ("let_go", 345067), ("step", 348873),
        ("close", 161252),
    ],
    "a file that was emptied, refilled and renamed between two looks was left": [
        ("half", 893809), ("step", 241097), ("write", 136211), ("seal", 514425), ("reopen", 764522),
        ("write", 925986), ("rename", 567325), ("crash", 604784),
    ],
    "a name that was neither durable nor could be taken back was sealed again": [
        ("write", 824231), ("look", 15744), ("crash", 638966), ("write", 671960), ("fault", 749686),
    ],
    "a refilled file was taken for the captured one, whose guard was looked for in a part that had a name by then": [
        ("spill", 254745), ("truncate", 531458), ("write", 829653),
    ],
    "half a record after a reset was taken for what power loss had left, once the state was lost": [
        ("spill", 300762), ("let_go", 894063), ("step", 100311), ("half", 190007), ("forget", 313515),
        ("release", 454361),
    ],
    "NULs before a kept offset were counted as loss when the agent was killed before the file was emptied again": [
        ("half", 325628), ("reopen", 857506), ("step", 48565), ("truncate", 998744), ("crash", 240480),
        ("spill", 87989), ("truncate", 961207),
    ],
    "half a record after a truncation was taken for an old one's remainder, once the state was lost": [
        ("spill", 342837), ("forget", 563130), ("reopen", 825341), ("half", 749665), ("release", 7334),
    ],
    "half a record after a truncation was taken for an old one's remainder after a reboot": [
        ("spill", 781151), ("truncate", 202772), ("half", 739337), ("reboot", 178623), ("step", 444711),
    ],
    "a file that was emptied and refilled to just S while no agent ran was never looked into": [
        ("spill", 921308), ("release", 374901), ("link", 798523), ("reopen", 148622), ("spill", 946529),
    ],
    "a file that had a second name for a while was left": [
        ("write", 165527), ("look", 472473), ("link", 837691), ("seal", 493362), ("step", 562920),
    ],
    "positions were left out when a file was refilled after a kill that had come just behind its reset": [
        ("half", 615143), ("let_go", 216232), ("crash", 846639), ("write", 936237),
    ],
    "a life that had ended was taken up again after a reboot, as its marker had no guard": [
        ("write", 53345), ("step", 649371), ("reopen", 52292), ("crash", 399318), ("look", 292145), ("tick", 821993),
        ("kill", 363060), ("reboot", 534663), ("write", 599923),
    ],
    "an open part whose file and whose state were both deleted was quarantined": [
        ("reload", 376686), ("write", 855081), ("crash", 438022), ("delete", 510246), ("write", 399728),
        ("step", 775220), ("delete", 37070), ("forget", 243628),
    ],
    "NULs before a kept offset were counted as a gap after a reboot, though the truncation had been counted": [
        ("spill", 112668), ("write", 883066), ("crash", 376059), ("reopen", 22537), ("truncate", 280055),
        ("step", 330798), ("reboot", 809300), ("write", 472637),
    ],
    "positions of a deleted file were used again, and what was captured on a full disk was sealed twice": [
        ("step", 997932), ("spill", 181353), ("delete", 520694), ("look", 417580), ("fill", 648813),
        ("reboot", 644245), ("spill", 957002),
    ],
    "what could not be noted on a full disk took what had been noted with it, and a loss was counted again": [
        ("write", 217068), ("write", 654568), ("reopen", 993040), ("meanwhile", 443330), ("capture", 757245),
        ("meanwhile", 935858), ("write", 582810), ("step", 606963), ("fill", 269979), ("crash", 573398),
    ],
    "what could not be noted on a full disk took what had been noted with it, and a renamed file was left": [
        ("spill", 570458), ("reload", 271755), ("rename", 970029), ("fill", 454665), ("kill", 242199),
    ],
    "NULs before a kept offset of four bytes were taken for a message's length": [
        ("reopen", 1), ("half", 1), ("truncate", 0), ("write", 5), ("step", 0),
    ],
    "a file was sealed twice when the deletion of its oldest segment had failed and that of the next had not": [
        ("meanwhile", 419266), ("spill", 787134), ("expire", 611858), ("fault", 223230), ("spill", 24763),
        ("write", 377060),
    ],
    "a part that S had moved over was dropped, and its records were left unsealed": [
        ("write", 108061), ("look", 609851), ("capture", 102163), ("crash", 574351),
    ],
    "segments of a renamed file went while the disk took no hint that it was finished": [
        ("spill", 582188), ("reload", 527159), ("rename", 531338), ("write", 148394), ("spill", 305811),
        ("kill", 962748), ("fill", 801181), ("tick", 679899), ("step", 345574), ("kill", 571168),
    ],
    "a file of NULs alone was cut twice, the agent killed in between, and less than nothing was counted as lost": [
        ("reopen", 703957), ("expire", 731083), ("truncate", 243402), ("meanwhile", 378210), ("reopen", 204983),
        ("crash", 89869), ("spill", 997459), ("reopen", 907001),
    ],
    "a part that could not be removed yet was quarantined, for its segment had been retired": [
        ("expire", 466236), ("meanwhile", 601075), ("write", 829981), ("reboot", 36023), ("fault", 593740),
    ],
    "a file was renamed aside by an agent that was killed and lost its state, and nobody knew it any more": [
        ("aside", 219439),
    ],
    "the same, while its writer had it open, and again": [
        ("aside", 11920), ("meanwhile", 219079), ("aside", 952833), ("aside", 373583), ("aside", 208226),
    ],
    "a file that came just before the renaming was taken for the one that was looked at": [("overtake", 625976)],
    "the same, and the one that was looked at was counted as lost": [("overtake", 849410)],
}  # fmt: skip
