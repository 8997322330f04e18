"""What verdicts on single images say: accuracies class by class, how sure they are, how two students differ."""
