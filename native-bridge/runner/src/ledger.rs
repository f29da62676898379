//! What one end of a connection has asked the other, and holds ready for it: questions and exports, by Cap'n Proto's rules.

use std::collections::HashMap;

/// One end's questions to the other, and its own capabilities that the other holds.
#[derive(Default)]
pub(crate) struct Ledger {
    questions: HashMap<u32, Question>,
    unanswered: usize,
    unanswered_bytes: usize,
    /// How often the other end was given each.
    exports: HashMap<u32, u64>,
}

#[derive(Default)]
struct Question {
    answered: bool,
    finished: bool,
    /// Nobody will want the results' capabilities.
    released: bool,
    bytes: usize,
    /// Exports of who asked.
    params: Vec<u32>,
    /// Exports of who answered.
    results: Vec<u32>,
}

impl Ledger {
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Bytes of the questions that are not answered.
    pub(crate) fn unanswered_bytes(&self) -> usize {
        self.unanswered_bytes
    }

    /// Questions that are not finished with, or not answered.
    pub(crate) fn questions(&self) -> usize {
        self.questions.len()
    }

    pub(crate) fn exports(&self) -> usize {
        self.exports.len()
    }

    /// False when the question is open already.
    pub(crate) fn ask(&mut self, id: u32, bytes: usize, params: Vec<u32>) -> bool {
        if self.questions.contains_key(&id) {
            return false;
        }
        self.export(&params);
        self.questions.insert(id, Question { bytes, params, ..Question::default() });
        self.unanswered += 1;
        self.unanswered_bytes += bytes;
        true
    }

    /// `other` answers. False when that was not asked, or is answered already.
    pub(crate) fn answer(&mut self, id: u32, answer: Answer, other: &mut Ledger) -> bool {
        let Some(question) = self.questions.get_mut(&id).filter(|question| !question.answered) else { return false };
        question.answered = true;
        self.unanswered -= 1;
        self.unanswered_bytes -= question.bytes;
        let params = std::mem::take(&mut question.params);
        if !question.released {
            other.export(&answer.results);
            question.results = answer.results;
        }
        question.finished |= answer.is_last;
        if question.finished {
            self.questions.remove(&id);
        }
        if answer.releases_params {
            params.iter().for_each(|id| self.release(*id, 1));
        }
        true
    }

    /// What `other` answers, or has answered, is not wanted any more.
    pub(crate) fn finish(&mut self, id: u32, releases_results: bool, other: &mut Ledger) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        question.finished = true;
        let results = std::mem::take(&mut question.results);
        question.released |= releases_results;
        if question.answered {
            self.questions.remove(&id);
        }
        if releases_results {
            results.iter().for_each(|id| other.release(*id, 1));
        }
    }

    pub(crate) fn export(&mut self, ids: &[u32]) {
        for id in ids {
            *self.exports.entry(*id).or_default() += 1;
        }
    }

    /// The other end gives one of our exports back.
    pub(crate) fn release(&mut self, id: u32, count: u32) {
        if let Some(held) = self.exports.get_mut(&id) {
            *held = held.saturating_sub(u64::from(count));
            if *held == 0 {
                self.exports.remove(&id);
            }
        }
    }
}

/// An answer's consequences.
#[derive(Default)]
pub(crate) struct Answer {
    /// Exports of who answers.
    pub(crate) results: Vec<u32>,
    pub(crate) releases_params: bool,
    /// Who asked need not say that it is finished.
    pub(crate) is_last: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_open_until_it_is_answered_and_finished() {
        let (mut ours, mut theirs) = (Ledger::default(), Ledger::default());
        assert!(ours.ask(1, 100, Vec::new()) && !ours.ask(1, 100, Vec::new()));
        assert_eq!((ours.unanswered(), ours.unanswered_bytes()), (1, 100));
        assert!(ours.answer(1, Answer::default(), &mut theirs));
        assert!(!ours.answer(1, Answer::default(), &mut theirs) && !ours.answer(2, Answer::default(), &mut theirs));
        assert_eq!((ours.unanswered(), ours.unanswered_bytes(), ours.questions()), (0, 0, 1));
        ours.finish(1, true, &mut theirs);
        assert_eq!(ours.questions(), 0);
        assert!(ours.ask(1, 0, Vec::new()));
        assert!(ours.answer(1, Answer { is_last: true, ..Answer::default() }, &mut theirs));
        assert_eq!(ours.questions(), 0);
    }

    #[test]
    fn exports_are_held_until_all_mentions_are_given_back() {
        let (mut ours, mut theirs) = (Ledger::default(), Ledger::default());
        ours.ask(1, 0, vec![7, 7, 8]);
        assert_eq!(ours.exports(), 2);
        ours.answer(1, Answer { results: vec![3], releases_params: true, is_last: false }, &mut theirs);
        assert_eq!((ours.exports(), theirs.exports()), (0, 1));
        ours.finish(1, true, &mut theirs);
        assert_eq!(theirs.exports(), 0);
        // Kept beyond the question, then released by themselves.
        ours.ask(2, 0, vec![7, 7]);
        ours.answer(2, Answer { results: vec![4, 5], ..Answer::default() }, &mut theirs);
        ours.finish(2, false, &mut theirs);
        assert_eq!((ours.exports(), theirs.exports()), (1, 2));
        ours.release(7, 1);
        theirs.release(4, 9);
        assert_eq!((ours.exports(), theirs.exports()), (1, 1));
        ours.release(7, 1);
        assert_eq!(ours.exports(), 0);
        // Finished before it is answered: the results are nobody's.
        ours.ask(3, 0, Vec::new());
        ours.finish(3, true, &mut theirs);
        ours.answer(3, Answer { results: vec![9], ..Answer::default() }, &mut theirs);
        assert_eq!((ours.questions(), theirs.exports()), (0, 1));
    }
}
