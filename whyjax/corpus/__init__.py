"""What is read: documents, dialogues and transcripts as tokens, loss weights, packed rows and
batches."""
