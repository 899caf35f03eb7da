"""The facts of ``paper.json``: what the paper and its authors published as numbers, with the
section each stands in. Tables that ``results/known_answers.json`` holds are taken from there."""

from lakhnes_lib.listening import reproduction

FACTS = {
    "data": {
        "description": "The data sets as the paper describes them.",
        "section": "1, 3, 4.2",
        "nesmdb_hours": 46,
        "lakh_hours": "over 9000",
        "lakh_files": 175_000,
        "lakh_examples": 775_000,
        "maestro_hours": 172,
        "bach_chorales": 306,
        "drawings_a_lakh_song_at_most": 16,
    },
    "representation": {
        "description": "The event representation in numbers.",
        "section": "3.2, Table 1, 5",
        "events": 631,
        "ticks_a_second": 44_100,
        "seconds_of_512_events_on_average": "around 9",
        "steps_a_second_of_the_earlier_piano_roll": 24,
        "misprint": "Table 1 calls the waits of ids 191-370 longer than 10,000 ticks; they are "
        "1,100 to 100,000 ticks.",
    },
    "training": {
        "description": "How the models were trained.",
        "section": "4.1, 5, 5.1",
        "layers": 12,
        "heads": 8,
        "events_a_segment": 512,
        "batch": 30,
        "learning_rate": 2e-5,
        "epochs_until_early_stopping": {
            "LSTM": 18,
            "LSTM, augmented": 35,
            "Transformer-XL": 76,
            "Transformer-XL, augmented": 350,
            "LakhNES": 250,
        },
        "augmentation": "melodic voices transposed by -6 to +5 semitones; speed changed by up to "
        "5 %; half of the time some voices left out; half of the time melodic voices exchanged",
        "gpus": "four Titan X, less than a day on NES-MDB alone; a week on Lakh, four epochs",
        "still_underfitting_on_lakh_after_a_week": True,
        "gain_of_augmentation_percent": {"LSTM": 10, "Transformer-XL": 22},
        "gain_of_pretraining_percent": 10,
    },
    "turing_test": {
        "description": "The Turing test: which of two clips of 5 seconds did a person compose? "
        "Lower accuracy is better for a model. Figure 4's bars are printed without numbers.",
        "section": "7.1, Figure 4",
        "seconds_a_clip": 5,
        "batches": 800,
        "pairs_a_batch": 10,
        "control_pairs_a_batch": 2,
        "batches_a_judge_at_least": 3,
        "controls_that_must_be_right": 6,
        "chance_to_pass_by_guessing_percent": 1.6,
        "judgements_a_method_about": 180,
        "accuracy": None,
        "p_of_lakhnes_against": {
            "5-gram": "< .0001",
            "LSTM, augmented": 0.07,
            "Transformer-XL, augmented": 0.32,
        },
    },
    "preference_test": {
        "description": "The preference test: which of two clips of 10 seconds is better? Figure "
        "5's bars are printed without numbers; the text gives two shares of comparisons in which "
        "a model was preferred to real music.",
        "section": "7.2, Figure 5",
        "seconds_a_clip": 10,
        "pairs_a_batch": 10,
        "control_pairs_a_batch": 2,
        "methods": ["real data", "5-gram", "LSTM", "Transformer-XL", "LakhNES"],
        "comparisons_a_method_about": 400,
        "wins": None,
        "preferred_to_real_percent": {"LakhNES": 26, "LSTM, augmented": 10},
    },
    "sampling": {
        "description": "How the sound examples were drawn; the clips of the user study were drawn "
        "from the whole distribution.",
        "section": "8",
        "temperature": 0.95,
        "top_k": 32,
        "sound_examples": "https://chrisdonahue.com/LakhNES",
    },
}


def all_facts() -> tuple[dict, dict]:
    """Every fact of this module by name, and what else the file's head says."""
    known = reproduction.known_answers()
    tables = {
        "table_2": {
            "description": "Perplexity on test of Table 2, and the third decimal of its networks "
            "from the authors' list of their checkpoints; null where the paper has no "
            "such row.",
            "section": "6, Table 2",
            "rows": [
                {key: row[key] for key in ("title", "size", "test")} for row in known["table_2"]
            ],
        },
        "figure_3": {
            "description": "Perplexity on test and valid after fine-tuning, by epochs of "
            "pre-training on Lakh; the values of the published checkpoints.",
            "section": "6, Figure 3",
        }
        | known["figure_3"],
        "checkpoints": {
            "description": "Perplexities of the published checkpoints, as their authors state "
            "them; the one of Lakh alone was reported by a user.",
            "section": "the authors' repository",
            "rows": [
                {key: row.get(key) for key in ("title", "test", "valid")}
                for row in known["published"]
            ],
        },
    }
    source = (
        "Donahue, Mao, Li, Cottrell and McAuley, LakhNES: Improving multi-instrumental music "
        "generation with cross-domain pre-training, ISMIR 2019, and the authors' repository"
    )
    return FACTS | tables, {"source": source}
