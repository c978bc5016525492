"""Recordings of ROS 2: their files, and the messages in them, without ROS."""
